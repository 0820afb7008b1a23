"""One run at a time works on a data root."""

from __future__ import annotations

from pathlib import Path

from kedro.framework.hooks import hook_impl
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline

from almost_kedro.processes.locks import RootLock


class LockHook:
    """Lets one run at a time work on a data root."""

    def __init__(self) -> None:
        """Nothing is locked yet."""
        self.lock = RootLock()

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Lock the data root, unless the pipeline is empty."""
        if pipeline.nodes:
            self.lock.acquire(Path(catalog.load("parameters")["data_root"]))

    @hook_impl(trylast=True)
    def after_pipeline_run(self) -> None:
        """Unlock the data root."""
        self.lock.release()

    @hook_impl(trylast=True)
    def on_pipeline_error(self) -> None:
        """Unlock the data root."""
        self.lock.release()
