"""The gate: a reward model that fails on held-out prompts may not train a policy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypedDict

from almost_kedro.training_options import GateOptions

# Were it no better than the floor, a reward model would be right more often on each of 4 prompts by
# chance with 1 / 16, which is more than 5 %; the bootstrap does not know that.
MIN_PROMPTS = 5


class GateResult(TypedDict):
    """Whether a reward model may be used, and if not, why: one line each."""

    passed: bool
    reasons: list[str]


def check_gate(
    report: Mapping[str, Any], padding_difference: float, options: GateOptions
) -> GateResult:
    """Check that a reward model is better than what reads nothing, calibrated, and padding-proof.

    Args:
        report: From `report_reward_model`.
        padding_difference: Change of rewards (log-odds) that padding made, root mean square.
        options: The limits.
    """
    reasons = _check_accuracy(report)
    spread = report.get("margin_std", math.inf)
    limit = options.max_padding_share * spread
    # "not at most" instead of "above": what is not a number fails, too.
    if not padding_difference <= limit:
        reasons.append(
            f"padding changes rewards by {padding_difference:.4g} (root mean square); at most "
            f"{limit:.4g}, which is {options.max_padding_share:.4g} (max_padding_share) of the "
            "margins' standard deviation: compute in float32, or train a reward model that is surer"
        )
    error = report.get("calibration_error", 0.0)
    if not error <= options.max_calibration_error:
        reasons.append(
            f"confidence is {error:.3f} from the share that is right; "
            f"at most {options.max_calibration_error:.3f} (max_calibration_error)"
        )
    return GateResult(passed=not reasons, reasons=reasons)


def _check_accuracy(report: Mapping[str, Any]) -> list[str]:
    if report["n_prompts"] < MIN_PROMPTS:
        return [
            f"{report['n']} held-out comparisons of {report['n_prompts']} prompts show nothing; "
            f"at least {MIN_PROMPTS} prompts are needed"
        ]
    best, above = report["best_floor"], report["above_best_floor"]
    if above["low_one_sided"] > 0:
        return []
    return [
        f"accuracy {report['accuracy']['value']:.3f} is not above the floor "
        f"{report['floors'][best]['value']:.3f} ({best}): the difference is "
        f"{above['difference']:+.3f}, with 95 % above {above['low_one_sided']:+.3f}; "
        "that bound must be above 0"
    ]
