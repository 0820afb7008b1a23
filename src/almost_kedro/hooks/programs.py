"""Gets ready to start programs while Kedro still checks and plans."""

from __future__ import annotations

from kedro.framework.hooks import hook_impl
from kedro.pipeline import Pipeline

from almost_kedro.processes.prepared import end_prepared, prepare
from almost_kedro.processes.run import build_environment


class ProgramsHook:
    """Keeps a process from which programs start at once, for the time of a run."""

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, pipeline: Pipeline) -> None:
        """Begin, unless the pipeline is empty."""
        if pipeline.nodes:
            prepare(build_environment())

    @hook_impl(trylast=True)
    def after_pipeline_run(self) -> None:
        """End it."""
        end_prepared()

    @hook_impl(trylast=True)
    def on_pipeline_error(self) -> None:
        """End it."""
        end_prepared()
