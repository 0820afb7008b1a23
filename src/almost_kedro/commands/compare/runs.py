"""The runs of a data root, as MLflow has them, and which of them a name means."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from almost_kedro.commands.compare.costs import Step
from almost_kedro.errors import UserError
from almost_kedro.places import resolve_path
from almost_kedro.processes.tracking import EXPERIMENT, explained, name_store, open_client

if TYPE_CHECKING:
    from mlflow import MlflowClient

LATEST = re.compile(r"latest(?:~([0-9]{1,6}))?")
# Runs that an error message names, and characters of what was typed that it repeats.
NAMED, REPEATED = 5, 80
PAGE = 1000
# What only a run of Kedro has; its programs' runs don't.
SESSION = "kedro.session_id"


@dataclass(frozen=True)
class Run:
    """One `kedro run`.

    Attributes:
        id: MLflow's name of it.
        session: Kedro's: the time when it began, and the version of all that it saved.
        started: Milliseconds since 1970.
        ended: The same; None if it has not ended.
        pipelines: What was asked for.
        env: The environment.
        status: FINISHED, FAILED, KILLED or RUNNING.
        commit: The project's, with "-dirty" if files differed from it.
        options: All of them, as text, nested names joined by dots.
        versions: The version of each dataset that it saved or, if it didn't, loaded.
    """

    id: str
    session: str
    started: int
    ended: int | None
    pipelines: str
    env: str
    status: str
    commit: str
    options: Mapping[str, str]
    versions: Mapping[str, str]

    @property
    def when(self) -> str:
        """When it began, to the minute."""
        return f"{datetime.fromtimestamp(self.started / 1000, UTC):%Y-%m-%d %H:%M} UTC"

    @property
    def seconds(self) -> float | None:
        """How long it took."""
        return None if self.ended is None else (self.ended - self.started) / 1000

    @property
    def short_commit(self) -> str:
        """The commit as people write it."""
        name, dirty, _ = self.commit.partition("-dirty")
        return (name[:8] if re.fullmatch("[0-9a-f]{40}", name) else name) + dirty


def find_run(runs: Sequence[Run], name: str, where: str) -> Run:
    """Return the run that a name means.

    Args:
        runs: All there are, newest first.
        name: A session or an MLflow id, the beginning of one, `latest`, or `latest~1` for the one
            before.
        where: Where they are from, for messages.

    Raises:
        UserError: If no run is meant, or more than one.
    """
    if not runs:
        raise UserError(f"there are no runs {where}; run `kedro run` first, or look elsewhere")
    shown = repr(name[:REPEATED])
    latest = LATEST.fullmatch(name)
    if latest:
        back = int(latest[1] or 0)
        if back < len(runs):
            return runs[back]
        raise UserError(f"there is no run {shown} {where}; there are {len(runs)}")
    ids = [(run, (run.session, run.id)) for run in runs]
    for found in (
        [run for run, names in ids if name in names],
        [run for run, names in ids if name and any(each.startswith(name) for each in names)],
    ):
        if len(found) == 1:
            return found[0]
        if found:
            meant = _name([f"{run.session} ({run.id[:8]})" for run in found])
            raise UserError(
                f"run {shown} may be any of {len(found)} {where}: {meant}; write more of one"
            )
    raise UserError(
        f"there is no run {shown} {where}; there are {_name([run.session for run in runs])}: "
        "`kedro compare` lists them"
    )


def _name(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")


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
