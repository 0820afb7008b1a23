"""Looks models up by the names that a run's options have for them."""

from __future__ import annotations

from typing import Any

from almost_kedro.contract import ModelFolder
from almost_kedro.errors import UserError
from almost_kedro.models.adapters import check_adapters
from almost_kedro.models.chat_template import identify_template
from almost_kedro.models.checks.job import Use
from almost_kedro.models.find import resolve_model
from almost_kedro.models.lengths import context_length
from almost_kedro.options.all import Options
from almost_kedro.processes.workplace import Workplace


def find_model(
    name: str, options: Options, workplace: Workplace, use: Use = "embedded"
) -> ModelFolder:
    """Find a model on this machine, checked for its use; raise UserError if missing or faulty."""
    return resolve_model(name, options.models.root, workplace.models, use)


def find_trainee(
    name: str, options: Options, workplace: Workplace, use: Use = "embedded"
) -> ModelFolder:
    """Find a model that is trained, or compared with what it was trained to.

    By `dialogue: chat_template` it reads dialogues by its own template; UserError if it can't.
    """
    model = find_model(name, options, workplace, use)
    if options.dialogue == "plain":
        return model
    find_model(name, options, workplace, "chat_template")
    assert model.folder
    template = identify_template(name, model.folder)
    return model.model_copy(update={"template": template})


def find_letter_judge(name: str, options: Options, workplace: Workplace) -> ModelFolder:
    """Find a judge that answers by letter, with its chat template if it has one.

    Raises UserError as `find_model` does, or if its vocabulary has no letters.
    """
    judge = find_model(name, options, workplace)
    find_model(name, options, workplace, "judge")
    assert judge.folder
    template = identify_template(name, judge.folder)
    if template:
        find_model(name, options, workplace, "chat_template")
    return judge.model_copy(update={"template": template})


def plan_model(
    name: str, use: Use, length: int, option: str, options: Options, workplace: Workplace
) -> dict[str, Any]:
    """Find a model that is to be trained; return it for a plan.

    The option named `option` sets `length`, the tokens that the context must hold. Raises UserError
    as `find_model` does, if the context is too short, or if it can't have the adapters of `lora`.
    """
    model = find_trainee(name, options, workplace, use)
    block = option.partition(".")[0]
    if lora := getattr(options, block).lora:
        assert model.folder
        sharded = options.launch.config == "fsdp"
        check_adapters(lora, f"{block}.lora", name, model.folder, sharded=sharded)
    limit = context_length(model.folder)
    if limit is not None and length > limit:
        raise UserError(
            f"option {option}: {length} tokens, but model {name!r} has a context of {limit}; "
            "lower it"
        )
    return {"models": {name: model.model_dump(mode="json")}}
