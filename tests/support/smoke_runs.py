"""Runs of the smoke environment in this process, and what they leave."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from mlflow import MlflowClient
from mlflow.entities import Run


def run_smoke(project: Path, root: Path, params: dict[str, Any] | None = None, **run: Any) -> None:
    """Run `synthetic_feedback` in the smoke environment, under a data root of its own."""
    run.setdefault("pipeline_names", ["synthetic_feedback"])
    bootstrap_project(project)
    runtime = {"data_root": str(root), **(params or {})}
    with KedroSession.create(project, env="smoke", runtime_params=runtime) as session:
        session.run(**run)


def find_files(root: Path, dataset: str) -> list[Path]:
    """All versions of a dataset of rows, oldest first."""
    names = (f"{dataset}.jsonl", f"{dataset}.parquet")
    return sorted(file for name in names for file in root.glob(f"*/{name}/*/{name}"))


def read_latest(root: Path, dataset: str) -> list[dict[str, Any]]:
    file = find_files(root, dataset)[-1]
    if file.suffix == ".parquet":
        rows: list[dict[str, Any]] = pq.read_table(file).to_pylist()
        return rows
    return [json.loads(line) for line in file.read_text().splitlines()]


def find_runs(root: Path, parent: str | None = None) -> list[Run]:
    """Parent runs, newest first, or the children of one."""
    client = MlflowClient(f"sqlite:///{root}/08_reporting/mlflow/mlflow.db")
    experiment = client.get_experiment_by_name("almost_kedro")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    return [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent]
