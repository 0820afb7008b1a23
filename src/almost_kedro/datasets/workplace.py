"""Where a run works, as one catalog entry: folders, and API keys out of credentials.yml."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset, DatasetError
from pydantic import SecretStr

from almost_kedro.processes.workplace import Workplace

Folder = Mapping[str, str]


class WorkplaceDataset(AbstractDataset[None, Workplace]):
    """Folders and keys; a key without a value is left out, and none is saved, shown or logged.

    YAML:
        workplace:
          type: almost_kedro.datasets.workplace.WorkplaceDataset
          models: {path: data/01_raw/models}
          generation: {path: data/04_feature/generation}
          training: {path: data/06_models/work}
          evaluation: {path: data/04_feature/evaluation}
          accelerate: {path: conf/accelerate}
          credentials: servers

    Kedro takes a `path` from the project's folder. In credentials.yml:
        servers:
          default: ${oc.env:ALMOST_KEDRO_API_KEY, null}
    """

    def __init__(
        self,
        *,
        models: Folder,
        generation: Folder,
        training: Folder,
        evaluation: Folder,
        accelerate: Folder,
        credentials: Mapping[str, str | None] | None = None,
        metadata: dict[str, Any] | None = None,
    ):
        """Take the folders and the keys."""
        self._workplace = Workplace(
            models=Path(models["path"]).absolute(),
            generation=Path(generation["path"]).absolute(),
            training=Path(training["path"]).absolute(),
            evaluation=Path(evaluation["path"]).absolute(),
            accelerate=Path(accelerate["path"]).absolute(),
            keys={name: SecretStr(key) for name, key in (credentials or {}).items() if key},
        )
        self.metadata = metadata

    def load(self) -> Workplace:
        """Return the workplace; what fills a folder makes it, and keys show only when asked for."""
        return self._workplace

    def save(self, data: None) -> None:
        """Refuse."""
        raise DatasetError("folders are set in the catalog and keys in credentials.yml, not saved")

    def _describe(self) -> dict[str, Any]:
        return {"models": str(self._workplace.models), "keys": sorted(self._workplace.keys)}
