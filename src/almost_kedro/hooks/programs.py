"""Lets a run's programs start at once."""

from __future__ import annotations

from kedro.framework.hooks import hook_impl
from kedro.pipeline import Pipeline

from almost_kedro.processes.prepared import end_prepared, prepare


class ProgramsHook:
    """Keeps a process from which programs are forked, for the time of a run."""

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, pipeline: Pipeline) -> None:
        """Begin, unless the pipeline is empty."""
        if pipeline.nodes:
            prepare()

    @hook_impl(trylast=True)
    def after_pipeline_run(self) -> None:
        """End it."""
        end_prepared()

    @hook_impl(trylast=True)
    def on_pipeline_error(self) -> None:
        """End it."""
        end_prepared()
