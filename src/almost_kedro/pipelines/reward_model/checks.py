"""First node of `reward_model`: it needs no generated data."""

from __future__ import annotations

from typing import Any

from almost_kedro.feedback.contrasts import check_parts
from almost_kedro.feedback.mismatched import check_levels
from almost_kedro.jobs.models import plan_model
from almost_kedro.options.all import Options
from almost_kedro.processes.workplace import Workplace


def check_reward_inputs(options: Options, workplace: Workplace) -> dict[str, Any]:
    """Find the model that reward models start from; return it, with its fingerprint, as the plan.

    Raises UserError if it is not here, if its context is too short, or if the rubric allows no
    mismatched pairs or no ensemble of contrasts that are asked for.
    """
    trained = options.reward_model
    if trained.mismatched:
        check_levels(options.comparisons.rubric)
    check_parts(trained.contrasts, options.contrasts, options.comparisons.rubric)
    option = "reward_model.max_length"
    return plan_model(trained.model, "reward", trained.max_length, option, options, workplace)
