"""The job to check a model, and its findings, as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from almost_kedro.contract import ModelFolder, Part

# Raise it by hand if a new check must look at models that passed the old ones.
# 2: chat templates. 3: letters.
VERSION = 3
# What a model is for: to generate with one of the engines, to be trained, also by its own chat
# template, or to judge by letter.
Use = Literal["embedded", "vllm", "openai", "reward", "policy", "chat_template", "judge"]


class CheckJob(Part):
    """A model to be checked; `weights` is False for the folder of a tokenizer alone."""

    model: ModelFolder
    weights: bool
    out: Path


class Findings(BaseModel):
    """What the user of a model should know, and for which uses it is refused, and why."""

    warnings: list[str] = []
    refusals: dict[Use, str] = {}
