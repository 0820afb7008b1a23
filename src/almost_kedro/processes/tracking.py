"""MLflow: a run for each `kedro run`, a child run for each program.

The hook starts and ends the parent run; whoever runs a program opens a child run here. Without
a hook (a node called by hand, a test) nothing is tracked. Only functions import mlflow.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shlex
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from almost_kedro.errors import UserError
from almost_kedro.places import SQLITE
from almost_kedro.processes.locks import wait_for_lock
from almost_kedro.rows.json_lines import read_rows

if TYPE_CHECKING:
    from mlflow import MlflowClient

# What MLflow would tell its makers of each run; who wants that sets it to false.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

TRACKING_FOLDER = "mlflow_store"
logger = logging.getLogger(__name__)
EXPERIMENT = "almost_kedro"
# MLflow's own limits on one batch and on one parameter's value.
MAX_BATCH, MAX_METRICS, MAX_VALUE = 100, 1000, 6000


@contextmanager
def explained(uri: str) -> Iterator[None]:
    """Turn an error of the store into a UserError of one clear line."""
    from mlflow import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as exc:
        # SQLAlchemy adds the statement and its parameters to what the database says.
        reason = " ".join(re.sub(r"\[SQL:.*", "", str(exc), flags=re.DOTALL).split())[:300]
        raise UserError(
            f"MLflow store {hide_user(uri)}: {hide_user(reason)}; mend it, or set the option "
            "mlflow_uri, and run again: what was finished is kept"
        ) from exc


def hide_user(text: str) -> str:
    """Leave user and password out of the addresses in a text."""
    return re.sub(r"(?<=://)[^/@\s]+(?=@)", "***", text)


def name_store(folder: Path, uri: str | None) -> str:
    """Return where runs are stored: the server, or else SQLite in the folder."""
    return uri or f"{SQLITE}{folder / 'mlflow.db'}"


def open_client(uri: str) -> MlflowClient:
    """Open a store without its log noise.

    Two processes that make one SQLite store at once break it, so one waits for the other.
    """
    from mlflow import MlflowClient

    # A new store logs every step of its making; `explained` reports errors.
    for noisy in ("mlflow.tracking", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    file = Path(uri.removeprefix(SQLITE))
    if uri.startswith(SQLITE):
        file.parent.mkdir(parents=True, exist_ok=True)
    if not uri.startswith(SQLITE) or not os.access(file.parent, os.W_OK):
        return MlflowClient(tracking_uri=uri)
    with wait_for_lock(file.parent, f".{file.name}.lock"):
        if not file.exists():
            make_store(file)
        return MlflowClient(tracking_uri=uri)


def make_store(file: Path) -> None:
    """Make an SQLite store, whole or not at all: MLflow can't go on with a part of one."""
    from mlflow import MlflowClient

    part = file.with_name(f".{file.name}.part")
    for left in file.parent.glob(f"{part.name}*"):  # with SQLite's own files
        left.unlink()
    MlflowClient(tracking_uri=f"{SQLITE}{part}")
    part.replace(file)


def find_experiment(client: MlflowClient, uri: str, artifacts: str | None) -> str:
    """Return the id of our experiment, made if need be.

    Raises UserError if it was deleted: MLflow only marks it, and no other can have its name.
    """
    from mlflow import MlflowException

    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        try:
            return str(client.create_experiment(EXPERIMENT, artifact_location=artifacts))
        except MlflowException as exc:
            if exc.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        experiment = client.get_experiment_by_name(EXPERIMENT)  # another run was faster
        assert experiment is not None
    if experiment.lifecycle_stage == "deleted":
        store = hide_user(uri)
        raise UserError(
            f"MLflow store {store}: its experiment {EXPERIMENT!r} was deleted; restore it with "
            f"`MLFLOW_TRACKING_URI={shlex.quote(store)} mlflow experiments restore "
            f"--experiment-id {experiment.experiment_id}`, or set the option mlflow_uri"
        )
    return str(experiment.experiment_id)


class Tracker:
    """The parent run of one `kedro run`."""

    def __init__(self, client: MlflowClient, uri: str, run_id: str, experiment_id: str):
        """Remember a run that has been started; see `start`."""
        self.client, self.uri = client, uri
        self.run_id, self.experiment_id = run_id, experiment_id

    @classmethod
    def start(cls, folder: Path, uri: str | None, name: str, tags: dict[str, str]) -> Tracker:
        """Start a parent run on the server at `uri`; None is SQLite in `folder`, with artifacts.

        Raises UserError if the store refuses something, or if its experiment was deleted.
        """
        artifacts = (folder / "artifacts").as_uri() if uri is None else None
        uri = name_store(folder, uri)
        with explained(uri):
            client = open_client(uri)
            experiment_id = find_experiment(client, uri, artifacts)
            run = client.create_run(experiment_id, tags=tags, run_name=name)
        return cls(client, uri, run.info.run_id, experiment_id)

    def log_options(self, options: Mapping[str, Any]) -> None:
        """Log options as parameters, nested names joined by dots."""
        from mlflow.entities import Param

        params = [Param(k, hide_user(str(v))[:MAX_VALUE]) for k, v in flatten(options).items()]
        with explained(self.uri):
            for i in range(0, len(params), MAX_BATCH):
                self.client.log_batch(self.run_id, params=params[i : i + MAX_BATCH])

    def log_metrics(
        self, metrics: Mapping[str, Any], prefix: str = "", run_id: str | None = None
    ) -> None:
        """Log the numbers among nested metrics; other values are left out."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        values = [
            Metric(prefix + name, float(value), now, 0)
            for name, value in flatten(metrics).items()
            if isinstance(value, int | float)
        ]
        with explained(self.uri):
            for i in range(0, len(values), MAX_BATCH):
                self.client.log_batch(run_id or self.run_id, metrics=values[i : i + MAX_BATCH])

    def log_curve(self, curve: Iterable[Mapping[str, Any]], run_id: str) -> None:
        """Log a curve: rows of numbers, each with its `step`."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        values = [
            Metric(f"curve.{name}", float(value), now, int(row["step"]))
            for row in curve
            for name, value in flatten(row).items()
            if name != "step" and isinstance(value, int | float)
        ]
        with explained(self.uri):
            for i in range(0, len(values), MAX_METRICS):
                self.client.log_batch(run_id, metrics=values[i : i + MAX_METRICS])

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Add tags to the parent run."""
        with explained(self.uri):
            for name, value in tags.items():
                self.client.set_tag(self.run_id, name, value)

    def start_child(self, name: str) -> str:
        """Start a child run; returns its id."""
        tags = {"mlflow.parentRunId": self.run_id}
        with explained(self.uri):
            run = self.client.create_run(self.experiment_id, tags=tags, run_name=name)
        return str(run.info.run_id)

    def end(self, status: str, run_id: str | None = None) -> None:
        """End a run: FINISHED, FAILED or KILLED."""
        with explained(self.uri):
            self.client.set_terminated(run_id or self.run_id, status)


_active: Tracker | None = None


def set_active(tracker: Tracker | None) -> None:
    """Say which parent run programs belong to."""
    global _active
    _active = tracker


@contextmanager
def track_program(
    name: str, metrics_file: Path, curve_file: Path | None = None
) -> Iterator[dict[str, str]]:
    """Open a child run around a program; log its `metrics.json` at the end.

    Args:
        curve_file: Also written by the program: JSON lines of numbers with `step`. They begin at
            its first step, even if it was stopped and resumed in between.

    Yields:
        Variables for the program's environment: the store and the child's id, never the parent's
        (a program that gets its parent's run ends it).
    """
    if _active is None:
        yield {}
        return
    run_id, status = _active.start_child(name), "KILLED"
    try:
        yield {"MLFLOW_TRACKING_URI": _active.uri, "MLFLOW_RUN_ID": run_id}
        _active.log_metrics(json.loads(metrics_file.read_text(encoding="utf-8")), run_id=run_id)
        if curve_file:
            _active.log_curve(read_rows(curve_file), run_id)
        status = "FINISHED"
    except Exception:
        status = "FAILED"
        raise
    finally:
        try:
            _active.end(status, run_id)
        except UserError as exc:  # what the program itself failed of is the one to show
            logger.warning("%s", exc)


def flatten(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Join the names of nested mappings by dots; MLflow's forbidden characters become "_"."""
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        name = re.sub(r"[^\w\-./ ]", "_", str(key))
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat
