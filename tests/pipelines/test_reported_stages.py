"""Report and cards show a stage beside the chain only as it was evaluated."""

from typing import Any

import pytest

from almost_kedro.evaluation.stages import DPO
from almost_kedro.pipelines.evaluation.pages import leave_out, warn_of_other_tests

OTHERS = {
    "sft_policy_metrics": {"models": {"sft": {"fingerprint": "s"}}, "test": {"reward_model": "r"}},
    "gate": None,
}
DPO_MODELS = {"dpo": {"fingerprint": "d"}}
TESTED = {"models": DPO_MODELS, "test": {"reward_model": "r"}}


def find(tested: Any, evaluated: dict[str, Any]) -> dict[str, Any]:
    own = dict.fromkeys(DPO.reported, [] if tested is None else ["something"])
    models = {"sft": {"fingerprint": "s"}, **evaluated}
    return {**OTHERS, **own, DPO.metrics: tested, "evaluation_metrics": {"models": models}}


def test_what_was_tested_and_evaluated_is_shown() -> None:
    found = find(TESTED, DPO_MODELS)
    assert leave_out(found) == found


@pytest.mark.parametrize(
    ("tested", "evaluated"),
    [
        (None, {}),  # never trained
        (TESTED, {}),  # left out by the evaluation
        # Trained anew after it, or not tested since.
        (TESTED, {"dpo": {"fingerprint": "e"}}),
        # Its answers have another reward model's rewards, as those of a test of before have.
        ({**TESTED, "test": {"reward_model": "q"}}, DPO_MODELS),
        ({"models": DPO_MODELS}, DPO_MODELS),
    ],
)
def test_all_else_of_it_is_left_out_and_nothing_of_others(
    tested: Any, evaluated: dict[str, Any]
) -> None:
    left = leave_out(find(tested, evaluated))
    assert left.keys() == {*OTHERS, "evaluation_metrics"}


@pytest.mark.parametrize("sft", [{"reward_model": "q"}, None])
def test_tests_that_differ_are_named_with_what_makes_them_one(
    sft: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Whichever is older: SFT may have been tested before reward models were trained anew."""
    found = find(TESTED, DPO_MODELS)
    found["rl_policy_metrics"] = None
    warn_of_other_tests(found)
    assert not caplog.records
    found["sft_policy_metrics"] = {"models": {}, **({"test": sft} if sft else {})}
    warn_of_other_tests(found)
    [record] = caplog.records
    assert "`kedro run --pipelines rmsp_sft,dpo`" in record.getMessage()
    assert "rewards of dpo on the test prompts" in record.getMessage()
