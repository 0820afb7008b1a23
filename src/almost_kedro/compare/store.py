"""Runs as MLflow has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from almost_kedro.compare.costs import Step
from almost_kedro.compare.runs import Run
from almost_kedro.places import resolve_path
from almost_kedro.tracking import EXPERIMENT, explained, name_store, open_client

if TYPE_CHECKING:
    from mlflow import MlflowClient

PAGE = 1000
# What only a run of Kedro has; its programs' runs don't.
SESSION = "kedro.session_id"


def read_runs(folder: Path, uri: str | None, data_root: str, project: Path) -> list[Run]:
    """Read all runs of a data root, newest first; none if nothing was ever tracked.

    Args:
        folder: Where the SQLite store is when there is no server.
        uri: The server. It may have the runs of other data roots, too: these are left out.
        data_root: The option.
        project: The project's folder, from which older runs have their data root.
    """
    if uri is None and not (folder / "mlflow.db").is_file():
        return []
    rows = _search(folder, uri, f"tags.`{SESSION}` LIKE '%'")
    runs = [_make_run(row) for row in rows]
    return [run for run in runs if uri is None or _find_root(run, project) == data_root]


def _find_root(run: Run, project: Path) -> str | None:
    root = run.options.get("data_root")
    return root and resolve_path(root, project)


def read_steps(folder: Path, uri: str | None, run: Run) -> list[Step]:
    """Read what a run's programs cost, in the order in which they began."""
    rows = _search(folder, uri, f"tags.`mlflow.parentRunId` = '{run.id}'")
    return [Step(row.info.run_name or "", row.data.metrics) for row in reversed(rows)]


def _search(folder: Path, uri: str | None, wanted: str) -> list[Any]:
    uri = name_store(folder, uri)
    with explained(uri):
        client: MlflowClient = open_client(uri)
        experiment = client.get_experiment_by_name(EXPERIMENT)
        if experiment is None:
            return []
        found: list[Any] = []
        token = None
        while True:
            page = client.search_runs(
                [experiment.experiment_id],
                wanted,
                max_results=PAGE,
                order_by=["attributes.start_time DESC"],
                page_token=token,
            )
            found += page
            token = page.token
            if not token:
                return found


def _make_run(row: Any) -> Run:
    tags: Mapping[str, str] = row.data.tags
    return Run(
        id=row.info.run_id,
        session=tags[SESSION],
        started=row.info.start_time,
        ended=row.info.end_time,
        pipelines=tags.get("kedro.pipeline", ""),
        env=tags.get("kedro.env", ""),
        status=row.info.status,
        commit=tags.get("git.commit", "unknown"),
        options=dict(row.data.params),
        versions=_strip(tags, ("loaded.", "saved.")),
    )


def _strip(tags: Mapping[str, str], prefixes: Sequence[str]) -> dict[str, str]:
    return {
        name.removeprefix(prefix): value
        for prefix in prefixes
        for name, value in tags.items()
        if name.startswith(prefix)
    }
