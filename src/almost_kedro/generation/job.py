"""The job file of the generation worker, as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from almost_kedro.contract import ModelFolder, Part, Sampling
from almost_kedro.options.feedback import PromptGenerationOptions
from almost_kedro.options.generation import GenerationOptions
from almost_kedro.options.rules import Rules

# The environment variable with API keys, as JSON by name. No job file, log or row holds them.
KEYS_VARIABLE = "ALMOST_KEDRO_SERVER_KEYS"


class RequestGroup(Part):
    """Requests of one assistant: a shared prefix, a sampling, and texts, `samples` times each."""

    name: str
    prefix: str
    sampling: Sampling
    texts: list[str]
    samples: int = 1


class ResponsesTask(Part):
    """Continue all texts of all groups."""

    kind: Literal["responses"] = "responses"
    groups: list[RequestGroup]


class PromptsTask(Part):
    """Generate prompts in rounds."""

    kind: Literal["prompts"] = "prompts"
    seed_file: str
    options: PromptGenerationOptions
    rules: Rules
    seed: int


class Job(Part):
    """One run of the worker: a task for one model."""

    model: ModelFolder
    generation: GenerationOptions
    cache: Path
    out: Path
    task: ResponsesTask | PromptsTask
