"""Which run is meant: by its session, by its MLflow id, by the beginning of either, or `latest`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from almost_kedro.errors import UserError

LATEST = re.compile(r"latest(?:~([0-9]{1,6}))?")
# Runs that an error message names, and characters of what was typed that it repeats.
NAMED, REPEATED = 5, 80


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
