"""Lets a run's programs start at once on this machine, or on others, or become jobs of Slurm."""

from __future__ import annotations

from pathlib import Path

from kedro.framework.hooks import hook_impl
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline

from almost_kedro.options.all import check_options
from almost_kedro.processes.machines import dismiss_machines
from almost_kedro.processes.prepared import end_prepared, prepare
from almost_kedro.processes.slurm_checks import check_cluster
from almost_kedro.processes.work_folders import set_cluster


class ProgramsHook:
    """Keeps a process from which programs are forked, or a cluster, for the time of a run.

    After a run that failed, other machines keep waiting: the same command goes on.
    """

    def __init__(self) -> None:
        """No other machines wait for trainings."""
        self._waiting: Path | None = None

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Begin, unless the pipeline is empty; raise UserError if Slurm is not as wanted."""
        set_cluster(None)
        self._waiting = None
        if not pipeline.nodes:
            return
        launch = check_options(catalog.load("parameters")).launch
        if launch.backend == "local":
            prepare()
            if launch.nodes > 1:
                self._waiting = catalog.load("workplace").training
        else:
            check_cluster(launch)
            set_cluster(launch.slurm)

    @hook_impl(trylast=True)
    def after_pipeline_run(self) -> None:
        """End it."""
        self._end()
        if self._waiting:
            dismiss_machines(self._waiting)

    @hook_impl(trylast=True)
    def on_pipeline_error(self) -> None:
        """End it."""
        self._end()

    def _end(self) -> None:
        end_prepared()
        set_cluster(None)
