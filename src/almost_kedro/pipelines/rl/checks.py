"""First node of `rl`: it needs no generated data."""

from __future__ import annotations

from typing import Any

from almost_kedro.jobs.models import plan_model
from almost_kedro.options.all import Options
from almost_kedro.processes.workplace import Workplace


def check_rl_inputs(options: Options, workplace: Workplace) -> dict[str, Any]:
    """Raise UserError if prompts and answers exceed the context; return the base model as plan."""
    length = options.rl.max_length + options.rl.max_new_tokens
    option = "rl.max_length + rl.max_new_tokens"
    return plan_model(options.sft.model, "policy", length, option, options, workplace)
