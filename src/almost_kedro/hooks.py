"""Kedro hooks: options are checked at once, runs are tracked, and the end says what there is."""

from __future__ import annotations

import atexit
import logging
import os
import shlex
import subprocess
from collections.abc import Iterable, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]
from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.framework.project import LOGGING
from kedro.io import AbstractVersionedDataset, DataCatalog
from kedro.io.core import VersionNotFoundError
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from almost_kedro import summary, tracking
from almost_kedro.checkpoints import Checkpoint
from almost_kedro.datasets.whole_file import StreamedRowsDataset, TextFileDataset
from almost_kedro.errors import UserError
from almost_kedro.locks import RootLock
from almost_kedro.options import check_options
from almost_kedro.places import check_roots, resolve_paths
from almost_kedro.plan.document import Plan, fits, nest_planned
from almost_kedro.plan.tracking import nest_actual
from almost_kedro.programs import PLAIN

logger = logging.getLogger(__name__)
TRACKING_FOLDER = "mlflow_store"
COST_PLAN = "cost_plan"
SUMMARIES = {
    "comparisons_metrics",
    "reward_model_metrics",
    "self_play_metrics",
    "sft_policy_metrics",
    "rl_policy_metrics",
    "evaluation_metrics",
    "report",
}


class OptionsHook:
    """Refuses bad options before Kedro reads them, and takes their paths from the project."""

    @hook_impl(tryfirst=True)
    def after_context_created(self, context: KedroContext) -> None:
        """Check all parameters of the environment, unknown names included."""
        configure_logging(context.project_path)
        loader = context.config_loader
        parameters = loader["parameters"]
        check_options(parameters)
        check_roots(parameters, loader["globals"], loader.runtime_params or {})
        # What is set here is what the loader returns from now on.
        loader["parameters"] = resolve_paths(parameters, context.project_path)


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
        """Let others in."""
        self.lock.release()

    @hook_impl(trylast=True)
    def on_pipeline_error(self) -> None:
        """Let others in."""
        self.lock.release()


class TrackingHook:
    """Tracks a run in MLflow (see `tracking`)."""

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
            # The run's own error is the one to show; ending the run warns of the store's.
            with suppress(UserError):
                self.tracker.set_tags(find_versions(catalog, self.loaded, self.saved))
            self.end("FAILED")

    def end(self, status: str) -> None:
        """End the parent run once; that it can't be ended costs no rows and is a warning."""
        if self.tracker:
            tracker, self.tracker = self.tracker, None
            tracking.set_active(None)
            atexit.unregister(self.end)
            try:
                tracker.end(status)
            except UserError as exc:
                logger.warning("%s", exc, extra=PLAIN)


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
            data.manifest.update(parents=parents, git_commit=self.commit)


class SummaryHook:
    """Says at the end what was made and how to look at it."""

    @hook_impl
    def after_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog
    ) -> None:
        """Log the figures of what was made."""
        made = pipeline.all_outputs()
        if not made.isdisjoint(SUMMARIES):
            for line in summarise(catalog, made, repeat_options(run_params)):
                logger.info("%s", line, extra=PLAIN)
        if "comparisons_metrics" in made:
            metrics = catalog.load("comparisons_metrics")
            if not metrics["n_comparisons"]:
                same = repeat_options(run_params)
                logger.warning("%s", summary.explain_no_comparisons(metrics, same), extra=PLAIN)


def summarise(catalog: DataCatalog, made: set[str], same: str) -> list[str]:
    """Return the lines on what a pipeline made."""
    lines = []
    if "comparisons_metrics" in made:
        dataset = catalog.get("comparisons")
        assert isinstance(dataset, StreamedRowsDataset)
        ids = [row["comparison_id"] for row in islice(dataset.stream(), 1)]
        lines += summary.describe_comparisons(
            catalog.load("comparisons_metrics"), dataset.load_path(), next(iter(ids), None), same
        )
    if "reward_model_metrics" in made:
        lines += summary.describe_reward_model(
            catalog.load("reward_model_metrics"), catalog.load("gate")
        )
    if "reward_model_seeds_metrics" in made:
        lines += summary.describe_seeds(catalog.load("reward_model_seeds_metrics"))
    if "self_play_metrics" in made:
        lines += summary.describe_self_play(catalog.load("self_play_metrics"))
    for name in ("sft_policy_metrics", "rl_policy_metrics"):
        if name in made:
            lines += summary.describe_policies(catalog.load(name))
    if "evaluation_metrics" in made:
        lines += summary.describe_evaluation(catalog.load("evaluation_metrics"))
    if "report" in made:
        dataset = catalog.get("report")
        assert isinstance(dataset, TextFileDataset)
        lines.append(f"report: {dataset.load_path()}")
    return [*lines, "where datasets came from: make viz; curves and costs: make mlflow"]


def configure_logging(project: Path) -> None:
    """Log as conf/logging.yml says where Kedro, which looks for it in the working folder, does not.

    What KEDRO_LOGGING_CONFIG or a script of the user's has set up stays.
    """
    file = project / "conf/logging.yml"
    kinds = {type(handler).__module__ for handler in logging.getLogger().handlers}
    ours = kinds == {"kedro.logging"} and not os.environ.get("KEDRO_LOGGING_CONFIG")
    if ours and file.is_file():
        LOGGING.configure(yaml.safe_load(file.read_text(encoding="utf-8")))


def read_plan(catalog: DataCatalog, options: dict[str, Any]) -> Plan | None:
    """Return the newest plan if it was made for these options."""
    plan: Plan | None = catalog.load(COST_PLAN)
    return plan if fits(plan, check_options(options).model_dump(mode="json")) else None


def repeat_options(run_params: dict[str, Any]) -> str:
    """Return the options with which another command finds what this run made."""
    options = ""
    if run_params.get("env"):
        options += f" --env {run_params['env']}"
    root = (run_params.get("runtime_params") or {}).get("data_root")
    if root:
        options += f" --params {shlex.quote(f'data_root={root}')}"
    return options


def find_versions(catalog: DataCatalog, loaded: set[str], saved: set[str]) -> dict[str, str]:
    """Return tags `loaded.NAME` and `saved.NAME` with the versions of versioned datasets."""
    tags = {}
    for prefix, names in (("loaded", loaded - saved), ("saved", saved)):
        for name, version in read_versions(catalog, names).items():
            tags[f"{prefix}.{name}"] = version
    return tags


def read_versions(catalog: DataCatalog, names: Iterable[str]) -> dict[str, str]:
    """Return the versions of those datasets that are versioned."""
    versions = {}
    for name in sorted(names):
        dataset = catalog.get(name)
        # What may be absent has no version yet.
        with suppress(VersionNotFoundError):
            if isinstance(dataset, AbstractVersionedDataset) and dataset.resolve_load_version():
                versions[name] = str(dataset.resolve_load_version())
    return versions


def dump(options: dict[str, Any]) -> dict[str, Any]:
    """Turn option blocks back into plain values."""
    return {
        name: value.model_dump(mode="json") if hasattr(value, "model_dump") else value
        for name, value in options.items()
    }


def name_pipelines(run_params: Mapping[str, Any]) -> str:
    """Return what a run was asked to run, in words."""
    names = run_params.get("pipeline_names") or [run_params.get("pipeline_name")]
    return ", ".join(name for name in names if name) or "__default__"


def read_commit(project: Path) -> str:
    """Return the commit that is checked out, marked if files differ from it."""
    command = ["git", "-C", str(project), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "unknown"
    return done.stdout.strip() or "unknown"
