"""What a reward model must show before it may train a policy."""

import math
from typing import Any

import pytest
from made_rows import make_pair

from almost_kedro.evaluation.gate import check_gate
from almost_kedro.evaluation.reward_report import report_reward_model
from almost_kedro.options.reward_model import GateOptions

OPTIONS = GateOptions.model_validate({"max_padding_share": 0.1, "max_calibration_error": 0.1})


def make_report(low: float = 0.02, error: float = 0.05, n_prompts: int = 40) -> dict[str, Any]:
    return {
        "n": 2 * n_prompts,
        "n_prompts": n_prompts,
        "accuracy": {"value": 0.7, "low": 0.6, "high": 0.8},
        "floors": {"longer_wins": {"value": 0.6, "low": 0.5, "high": 0.7}},
        "best_floor": "longer_wins",
        "above_best_floor": {"difference": 0.1, "low_one_sided": low, "low": low, "high": 0.3},
        "calibration_error": error,
        "margin_std": 0.5,
    }


def test_a_good_reward_model_passes_without_reasons() -> None:
    assert check_gate(make_report(), 0.01, OPTIONS) == {"passed": True, "reasons": []}


def test_limits_themselves_pass() -> None:
    assert check_gate(make_report(error=0.1), 0.05, OPTIONS)["passed"]


@pytest.mark.parametrize("low", [0.0, -0.03])
def test_no_better_than_the_floor_fails_with_the_numbers(low: float) -> None:
    result = check_gate(make_report(low), 0.01, OPTIONS)
    assert not result["passed"]
    (reason,) = result["reasons"]
    for part in ("0.700", "0.600", "longer_wins", "+0.100", f"{low:+.3f}"):
        assert part in reason


def test_padding_that_changes_rewards_fails_with_the_numbers() -> None:
    (reason,) = check_gate(make_report(), 0.06, OPTIONS)["reasons"]
    assert "changes rewards by 0.06 (root mean square)" in reason
    assert "at most 0.05, which is 0.1 (max_padding_share)" in reason


def test_the_surer_the_reward_model_the_less_padding_matters() -> None:
    assert check_gate({**make_report(), "margin_std": 2.0}, 0.2, OPTIONS)["passed"]
    assert not check_gate({**make_report(), "margin_std": 0.1}, 0.02, OPTIONS)["passed"]


def test_poor_calibration_fails_with_the_numbers() -> None:
    (reason,) = check_gate(make_report(error=0.25), 0.01, OPTIONS)["reasons"]
    assert "0.250" in reason
    assert "0.100 (max_calibration_error)" in reason


def test_what_is_not_a_number_fails() -> None:
    assert len(check_gate(make_report(error=math.nan), math.nan, OPTIONS)["reasons"]) == 2


def test_no_held_out_rows_fail() -> None:
    (reason,) = check_gate({"n": 0, "n_prompts": 0}, 0.01, OPTIONS)["reasons"]
    assert reason.startswith("0 held-out comparisons of 0 prompts")


@pytest.mark.parametrize(("n_prompts", "passed"), [(1, False), (4, False), (5, True)])
def test_a_handful_of_prompts_proves_nothing(n_prompts: int, passed: bool) -> None:
    assert check_gate(make_report(0.5, n_prompts=n_prompts), 0.01, OPTIONS)["passed"] is passed


def test_every_failure_has_its_line() -> None:
    result = check_gate(make_report(-0.1, error=0.5), 1.0, OPTIONS)
    assert len(result["reasons"]) == 3
    assert all("\n" not in reason for reason in result["reasons"])


@pytest.mark.parametrize(("right", "passed"), [(75, True), (52, False)])
def test_gate_reads_a_real_report(right: int, passed: bool) -> None:
    rows = [make_pair(str(i), 100, 110 if i % 2 else 90) for i in range(100)]
    # As sure as it is right: sigmoid(margin) is the share right, beyond a half.
    size = math.log(right / (100 - right))
    margins = {str(i): size if i < right else -size for i in range(100)}
    report = report_reward_model(rows, margins, [], seed=0, tolerance=0.2)
    result = check_gate(report, 0.0, OPTIONS)
    assert result["passed"] is passed, result
