"""A model to be looked over, and what is found, as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from almost_kedro.generation.job import ModelFolder, Part

# Raised by hand where a new check is to look at models that passed the old ones.
VERSION = 1
# What a model is named for: to write, by one of the engines, or to be trained.
Use = Literal["embedded", "vllm", "openai", "reward", "policy"]


class CheckJob(Part):
    """A model to be looked over; `weights` says whether it has any, or is a tokenizer's folder."""

    model: ModelFolder
    weights: bool
    out: Path


class Findings(BaseModel):
    """What is true of a model that may be used.

    Attributes:
        warnings: What its user should know.
        refusals: For what it may not be used, and why.
    """

    warnings: list[str] = []
    refusals: dict[Use, str] = {}
