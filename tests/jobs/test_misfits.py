"""Policies beside the chain: taken where they fit the run, else left out with a line."""

from pathlib import Path
from typing import Any

import pytest
from made_rows import make_assistant
from option_values import PARAMETERS, make_options, make_workplace

from almost_kedro.errors import UserError
from almost_kedro.feedback.splits import digest_splits
from almost_kedro.jobs.models import find_trainee
from almost_kedro.jobs.policies import find_misfits, list_policies
from almost_kedro.models.checkpoints import Checkpoint
from almost_kedro.options.all import Options
from almost_kedro.pipelines.dpo.checks import check_dpo_inputs
from almost_kedro.processes.workplace import Workplace
from almost_kedro.rows.training import PromptSplit

SPLITS = [PromptSplit(prompt_id="p1", split="reward_model")]
RUBRIC = ["small-HHH-3shot", "small-HHH-1shot"]
AGAIN = "run `kedro run --pipeline dpo` with these options first"


def make_run_options(**dpo: Any) -> Options:
    trained = {name: {**PARAMETERS[name], "model": "small"} for name in ("reward_model", "sft")}
    return make_options(**trained, dpo={**PARAMETERS["dpo"], **dpo}, comparisons={"rubric": RUBRIC})


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    return make_workplace(tmp_path_factory.mktemp("work"))


def make_checkpoints(workplace: Workplace, **manifest: Any) -> dict[str, Checkpoint | None]:
    """Of a run with the options above; `manifest` is what is other in the DPO policy's."""
    options = make_run_options()
    base = find_trainee("small", options, workplace)
    data = {"prompt_splits": digest_splits(SPLITS), "comparisons": "c0"}
    fields = {
        "kind": "policy",
        "base": {"name": "small", "fingerprint": base.fingerprint},
        "data": data,
        "options": {**options.dpo.model_dump(mode="json"), "seed": options.seed},
        "fingerprint": "f-dpo",
    }

    def make(name: str, **changes: Any) -> Checkpoint:
        return Checkpoint(Path(name), {**fields, "name": name, **changes})

    of_sft = {"name": "sft_policy", "fingerprint": "f-sft"}
    return {
        "sft_policy": make("sft_policy", fingerprint="f-sft"),
        "rl_policy": make("rl_policy", base=of_sft),
        "reward_model": make("reward_model"),
        "dpo_policy": make("dpo_policy", **manifest),
    }


def name_policies(
    checkpoints: dict[str, Checkpoint | None], options: Options, workplace: Workplace
) -> list[str]:
    assistants = [make_assistant(name, model="small") for name in RUBRIC]
    found = list_policies(checkpoints, SPLITS, assistants, options, workplace)
    return [policy.name for policy in found]


@pytest.mark.slow
def test_it_is_a_further_policy_once_it_is_there(workplace: Workplace) -> None:
    options, checkpoints = make_run_options(), make_checkpoints(workplace)
    assert find_misfits(checkpoints, SPLITS, options, workplace) == {}
    names = ["base", "prompted", "sft", "rl"]
    assert name_policies(checkpoints, options, workplace) == [*names, "dpo"]
    assert name_policies({**checkpoints, "dpo_policy": None}, options, workplace) == names


def test_the_name_of_its_base_is_no_other_option(workplace: Workplace) -> None:
    options = make_run_options(model="small")
    assert find_misfits(make_checkpoints(workplace), SPLITS, options, workplace) == {}


@pytest.mark.parametrize(
    ("manifest", "dpo", "why"),
    [
        (
            {"data": {"prompt_splits": "other", "comparisons": "c0"}},
            {},
            "dpo_policy was trained on another version of prompt_splits (dpo_policy: other, this",
        ),
        (
            {"data": {"prompt_splits": digest_splits(SPLITS), "comparisons": "c1"}},
            {},
            "dpo_policy was trained on another version of comparisons (dpo_policy: c1, this run: ",
        ),
        (
            {"base": {"name": "large", "fingerprint": "f9"}},
            {},
            "dpo_policy was trained from large (dpo_policy: f9), the options name small (",
        ),
        (
            {},
            {"beta": 0.5},
            "dpo_policy was trained with beta 0.1 (dpo_policy), this run has 0.5; ",
        ),
    ],
)
def test_what_was_trained_otherwise_is_left_out_with_what_differs(
    manifest: dict[str, Any], dpo: dict[str, Any], why: str, workplace: Workplace
) -> None:
    options, checkpoints = make_run_options(**dpo), make_checkpoints(workplace, **manifest)
    misfits = find_misfits(checkpoints, SPLITS, options, workplace)
    assert list(misfits) == ["dpo"]
    assert misfits["dpo"].startswith(why)
    assert misfits["dpo"].endswith(AGAIN)
    assert name_policies(checkpoints, options, workplace) == ["base", "prompted", "sft", "rl"]


def test_an_option_that_is_newer_than_the_checkpoint_is_no_other_one(workplace: Workplace) -> None:
    checkpoints = make_checkpoints(workplace, options={"beta": 0.1})
    assert find_misfits(checkpoints, SPLITS, make_run_options(), workplace) == {}


def test_another_base_than_that_of_all_policies_is_refused_at_once(workplace: Workplace) -> None:
    with pytest.raises(
        UserError, match=r"^option dpo.model: 'base', but sft.model is 'small', and"
    ):
        check_dpo_inputs(make_run_options(model="base"), workplace)
    assert list(check_dpo_inputs(make_run_options(model="small"), workplace)["models"]) == ["small"]
    assert list(check_dpo_inputs(make_run_options(), workplace)["models"]) == ["small"]
