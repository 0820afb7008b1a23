"""The job file of the generation worker: all it needs to know, as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from almost_kedro.feedback.ledger import Rules
from almost_kedro.generation.engine import Sampling
from almost_kedro.options import GenerationOptions, PromptGenerationOptions

# The environment variable with API keys, as JSON by name: they are in no job file, log or row.
KEYS_VARIABLE = "ALMOST_KEDRO_SERVER_KEYS"


class Part(BaseModel):
    """Something of a job file."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelFolder(Part):
    """A model as the worker needs it; `folder` is None if only servers know its tokenizer.

    `chat` says that servers are asked for it by messages; `pad_token` is what models.yml names.
    """

    name: str
    folder: Path | None
    fingerprint: str
    bos: bool | None = None
    trust_remote_code: bool = False
    chat: bool = False
    pad_token: str | None = None


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
