"""First node of `dpo`: it needs no generated data."""

from __future__ import annotations

from typing import Any

from almost_kedro.errors import UserError
from almost_kedro.jobs.models import plan_model
from almost_kedro.options.all import Options
from almost_kedro.processes.workplace import Workplace


def check_dpo_inputs(options: Options, workplace: Workplace) -> dict[str, Any]:
    """Find the model that the policy starts from; return it, with its fingerprint, as the plan.

    Raises UserError if it is not the one that all policies are compared with, if it is not here, or
    if its context is too short.
    """
    base = options.sft.model
    if options.dpo.model not in (None, base):
        raise UserError(
            f"option dpo.model: {options.dpo.model!r}, but sft.model is {base!r}, and all policies "
            "are compared with one base model; give both the same, or leave dpo.model out"
        )
    return plan_model(base, "policy", options.dpo.max_length, "dpo.max_length", options, workplace)
