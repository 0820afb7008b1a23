"""Facts about a run: its pipelines, its commit, the versions that it read."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from kedro.io import AbstractVersionedDataset, DataCatalog
from kedro.io.core import VersionNotFoundError


def read_versions(catalog: DataCatalog, names: Iterable[str]) -> dict[str, str]:
    """Return the versions of the versioned datasets among these names."""
    versions = {}
    for name in sorted(names):
        dataset = catalog.get(name)
        # An optional dataset may have no version yet.
        with suppress(VersionNotFoundError):
            if isinstance(dataset, AbstractVersionedDataset) and dataset.resolve_load_version():
                versions[name] = str(dataset.resolve_load_version())
    return versions


def name_pipelines(run_params: Mapping[str, Any]) -> str:
    """Return the names of the pipelines that a run was asked to run."""
    names = run_params.get("pipeline_names") or [run_params.get("pipeline_name")]
    return ", ".join(name for name in names if name) or "__default__"


def read_commit(project: Path) -> str:
    """Return the checked-out commit, marked "-dirty" if files differ; "unknown" without git."""
    command = ["git", "-C", str(project), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "unknown"
    return done.stdout.strip() or "unknown"
