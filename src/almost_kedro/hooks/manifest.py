"""A checkpoint says what it was made from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.io import DataCatalog
from kedro.pipeline.node import Node

from almost_kedro.hooks.run_facts import read_commit, read_versions
from almost_kedro.models.checkpoints import Checkpoint


class ManifestHook:
    """Says in a checkpoint's manifest what it was made from."""

    def __init__(self) -> None:
        """Nothing runs yet."""
        self.catalog = DataCatalog()
        self.commit = "unknown"

    @hook_impl
    def before_pipeline_run(self, run_params: dict[str, Any], catalog: DataCatalog) -> None:
        """Remember the catalog, and the commit before it can change."""
        self.catalog = catalog
        self.commit = read_commit(Path(run_params["project_path"]))

    @hook_impl
    def before_dataset_saved(self, data: Any, node: Node) -> None:
        """Add the versions that the node loaded, and the commit.

        A hook can't replace what is saved, so this changes the manifest in place.
        """
        if isinstance(data, Checkpoint):
            parents = read_versions(self.catalog, node.inputs)
            for each in (data, *data.members):
                each.manifest.update(parents=parents, git_commit=self.commit)
