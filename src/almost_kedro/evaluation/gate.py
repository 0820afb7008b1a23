"""The gate: a reward model that fails on held-out prompts may not train a policy."""

from __future__ import annotations

import math

from almost_kedro.options.reward_model import GateOptions
from almost_kedro.rows.metrics import Gated, GateResult, RewardModelMetrics

# By chance, a reward model no better than the floor beats it on each of 4 prompts with 1 / 16. That
# is more than 5 %, and the bootstrap does not know it.
MIN_PROMPTS = 5


def shows_gain(low: float, n_prompts: int) -> bool:
    """Tell whether a gain is shown, whose interval begins at `low`: of few prompts, none is."""
    return low > 0 and n_prompts >= MIN_PROMPTS


def check_gate(
    report: RewardModelMetrics, padding_difference: float, options: GateOptions
) -> GateResult:
    """Check that a reward model beats judges that read nothing, is calibrated, and padding-proof.

    `padding_difference` is the change of rewards by padding (log-odds, root mean square).
    """
    reasons = _check_accuracy(report)
    spread = report.get("margin_std", math.inf)
    limit = options.max_padding_share * spread
    # `not <=` instead of `>`, so that NaN fails, too.
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


def _check_accuracy(report: RewardModelMetrics) -> list[str]:
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


def carry_gate(gate: GateResult) -> Gated:
    """Return the gate's result as fields to put beside figures."""
    return Gated(gate_passed=gate["passed"], gate_reasons=gate["reasons"])
