"""Where a run works: the folders that its programs read and fill, and the keys of its servers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr


@dataclass(frozen=True)
class Workplace:
    """Places and keys, never rows or options.

    Attributes:
        models: Folder of the models that were fetched or made here.
        generation: Folder of the request cache and the generation jobs.
        training: Folder of the training and scoring jobs.
        evaluation: Folder of the likelihood jobs.
        accelerate: Folder of the accelerate configurations.
        keys: API keys of servers, by name.
    """

    models: Path
    generation: Path
    training: Path
    evaluation: Path
    accelerate: Path
    keys: Mapping[str, SecretStr]
