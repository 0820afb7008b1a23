"""Tracks each run in MLflow."""

from __future__ import annotations

import atexit
import logging
from contextlib import suppress
from pathlib import Path
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline

from almost_kedro.costs.actual import nest_actual
from almost_kedro.costs.planned import COST_PLAN, Plan, fits, nest_planned
from almost_kedro.errors import UserError
from almost_kedro.hooks.run_facts import name_pipelines, read_commit, read_versions
from almost_kedro.options.all import check_options
from almost_kedro.processes import tracking
from almost_kedro.processes.run import PLAIN
from almost_kedro.processes.tracking import TRACKING_FOLDER

logger = logging.getLogger(__name__)


class TrackingHook:
    """Tracks a run in MLflow (see `processes.tracking`)."""

    def __init__(self) -> None:
        """Nothing is tracked yet."""
        self.tracker: tracking.Tracker | None = None
        self.plan: Plan | None = None
        self.loaded: set[str] = set()
        self.saved: set[str] = set()

    @hook_impl
    def before_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog
    ) -> None:
        """Start the parent run, unless the pipeline is empty."""
        self.loaded, self.saved = set(), set()
        if not pipeline.nodes:
            return
        options = catalog.load("parameters")
        folder: Path = catalog.load(TRACKING_FOLDER)
        name = name_pipelines(run_params)
        tags = {
            "kedro.session_id": str(run_params.get("session_id") or run_params.get("run_id")),
            "kedro.env": str(run_params.get("env") or "base"),
            "kedro.pipeline": name,
            "git.commit": read_commit(Path(run_params["project_path"])),
        }
        self.tracker = tracking.Tracker.start(folder, options["mlflow_uri"], name, tags)
        # Ctrl-C reaches no error hook, nor does a signal (`signals`).
        atexit.register(self.end, "KILLED")
        self.tracker.log_options(dump(options))
        self.plan = read_plan(catalog, options)
        if self.plan:
            self.tracker.log_metrics(nest_planned(self.plan, pipeline.all_outputs()), "plan.")
        tracking.set_active(self.tracker)

    @hook_impl
    def after_dataset_loaded(self, dataset_name: str) -> None:
        """Remember what was loaded."""
        self.loaded.add(dataset_name)

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any) -> None:
        """Remember what was saved; log metrics."""
        self.saved.add(dataset_name)
        if self.tracker and dataset_name.endswith("_metrics"):
            self.tracker.log_metrics(data, prefix=f"{dataset_name.removesuffix('_metrics')}.")
        if self.tracker and self.plan:
            self.tracker.log_metrics(nest_actual(self.plan, dataset_name, data), "actual.")

    @hook_impl
    def after_pipeline_run(self, catalog: DataCatalog) -> None:
        """Tag the run with the versions, and end it."""
        if self.tracker:
            self.tracker.set_tags(find_versions(catalog, self.loaded, self.saved))
            self.end("FINISHED")

    @hook_impl
    def on_pipeline_error(self, catalog: DataCatalog) -> None:
        """Tag the run with the versions so far, and end it as failed."""
        if self.tracker:
            # Show the run's own error; `end` warns of the store's.
            with suppress(UserError):
                self.tracker.set_tags(find_versions(catalog, self.loaded, self.saved))
            self.end("FAILED")

    def end(self, status: str) -> None:
        """End the parent run once; a failure is only a warning, since it costs no rows."""
        if self.tracker:
            tracker, self.tracker = self.tracker, None
            tracking.set_active(None)
            atexit.unregister(self.end)
            try:
                tracker.end(status)
            except UserError as exc:
                logger.warning("%s", exc, extra=PLAIN)


def read_plan(catalog: DataCatalog, options: dict[str, Any]) -> Plan | None:
    """Return the newest plan if it was made for these options."""
    plan: Plan | None = catalog.load(COST_PLAN)
    return plan if fits(plan, check_options(options).model_dump(mode="json")) else None


def find_versions(catalog: DataCatalog, loaded: set[str], saved: set[str]) -> dict[str, str]:
    """Return tags `loaded.NAME` and `saved.NAME` with the versions of versioned datasets."""
    tags = {}
    for prefix, names in (("loaded", loaded - saved), ("saved", saved)):
        for name, version in read_versions(catalog, names).items():
            tags[f"{prefix}.{name}"] = version
    return tags


def dump(options: dict[str, Any]) -> dict[str, Any]:
    """Turn option blocks back into plain values."""
    return {
        name: value.model_dump(mode="json") if hasattr(value, "model_dump") else value
        for name, value in options.items()
    }
