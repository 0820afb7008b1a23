"""What training changed in a policy's preferences, by real programs on a tiny model."""

from pathlib import Path

import pytest
import torch
from made_rows import make_preference_item
from option_values import make_options, make_workplace
from training_jobs import Run, as_folder, make_rows
from transformers import AutoModelForCausalLM

from almost_kedro.contract import Likelihood
from almost_kedro.evaluation.preferences import judge_by_floors, judge_items, subtract_base
from almost_kedro.feedback.responses import SPLITTER
from almost_kedro.jobs.policies import Policy
from almost_kedro.jobs.policy_likelihoods import ask_for_answers
from almost_kedro.models.texts import TextEncoder
from almost_kedro.options.all import Options
from almost_kedro.pipelines.evaluation.preferences import score_by_policies
from almost_kedro.rows.preferences import PreferenceItem

LENGTH = 256


@pytest.fixture(scope="module")
def options() -> Options:
    sft = {"model": "base", "learning_rate": 1e-5, "batch_size": 4, "max_length": LENGTH}
    return make_options(generation={"engine": "embedded", "dtype": "float32"}, sft=sft)


@pytest.fixture(scope="module")
def items() -> list[PreferenceItem]:
    """What the policy is trained to answer, against something longer that it never was."""
    return [
        make_preference_item(
            f"mine-{number:04d}",
            dialogue=row["dialogue"],
            choices=[row["answer"], row["answer"].replace("Yes", "Never")],
        )
        for number, row in enumerate(make_rows(12, seed=9), 1)
    ]


def add_up(folder: Path, dialogue: str, answer: str) -> float:
    """Log-probability of an answer with its eos, all tokens at once."""
    texts = TextEncoder(as_folder(folder), " ", LENGTH).encode(dialogue, answer)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        logits = model(torch.tensor([texts.ids])).logits[0, len(texts.dialogue) - 1 : -1]
    found = torch.log_softmax(logits, dim=-1)
    assert texts.answer[-1] == 2  # eos
    return float(found.gather(1, torch.tensor(texts.answer)[:, None]).sum())


def test_a_policy_comes_to_prefer_what_it_was_trained_on(
    sft_run: Run, tiny: Path, items: list[PreferenceItem], options: Options, tmp_path: Path
) -> None:
    policies = [
        Policy("base", as_folder(tiny)),
        Policy("prompted", as_folder(tiny), "Be kind."),
        Policy("sft", as_folder(sft_run.model), is_checkpoint=True),
    ]
    scores, costs = score_by_policies(policies, {"mine": items}, options, make_workplace(tmp_path))
    assert scores["mine"].keys() == {"base", "sft"}
    rewards = subtract_base(scores["mine"])["sft"]
    hits = [row["hit"] for row in judge_items(items, "sft", rewards)]
    assert hits == [1.0] * 12
    # It does not go by length: the longer answer is always the wrong one here.
    assert {row["hit"] for row in judge_by_floors(items)["longer_wins"]} == {0.0}
    for number, answer in enumerate(items[0]["choices"]):
        dialogue = items[0]["dialogue"]
        by_hand = add_up(sft_run.model, dialogue, answer) - add_up(tiny, dialogue, answer)
        assert rewards[f"mine-0001/{number}"] == pytest.approx(by_hand, abs=2e-3)
    assert {policy: cost["rows"] for policy, cost in costs["mine"].items()} == {
        "base": 24,
        "sft": 24,
    }
    # The same again computes nothing, even where the models are gone.
    gone = [
        policy._replace(model=policy.model.model_copy(update={"folder": tmp_path / "gone"}))
        for policy in policies
    ]
    assert score_by_policies(gone, {"mine": items}, options, make_workplace(tmp_path))[0] == scores


def test_a_prompted_assistant_ends_its_answer_as_its_demonstrations_end(
    tiny: Path, options: Options, tmp_path: Path
) -> None:
    row = Likelihood(id="a", context="\n\nHuman: Why?\n\nAssistant:", continuation="So.")
    workplace = make_workplace(tmp_path)
    base, rows = ask_for_answers(Policy("base", as_folder(tiny)), [row], options, workplace)
    assert base.answers
    assert (base.answers.separator, base.answers.max_length) == (" ", LENGTH)
    assert rows == [row]
    prompted = Policy("prompted", as_folder(tiny), f"Be kind.{SPLITTER}")
    job, rows = ask_for_answers(prompted, [row], options, workplace)
    assert job.answers is None
    assert rows == [
        {**row, "prefix": "Be kind.\n\n-----", "continuation": " So.\n\n-----"},
    ]
