"""The Kedro side of the calibration: runs its program, once a machine and model."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import almost_kedro
from almost_kedro.commands.plan.machine import ThisMachine
from almost_kedro.contract import ModelFolder, Part, digest
from almost_kedro.options.launch import PLACES, LaunchOptions, Number
from almost_kedro.options.models import ModelShape
from almost_kedro.options.reward_model import RewardModelOptions
from almost_kedro.processes.run import PLAIN, run_program
from almost_kedro.processes.work_folders import METRICS

logger = logging.getLogger(__name__)
PROGRAM = "almost_kedro.commands.plan.calibrate"
# Code that decides how fast a machine is.
SOURCES = (
    "generation",
    "training",
    "models/tokens.py",
    "commands/plan/calibrate.py",
    "commands/plan/machine.py",
    "commands/plan/memory.py",
    "commands/plan/probes.py",
    "commands/plan/training_steps.py",
)
PACKAGE = Path(almost_kedro.__file__).parent


class CalibrationJob(Part):
    """What is measured; see `calibrate`."""

    # Each in a process of its own, as in a run.
    kind: Literal["generation", "training"] = "generation"
    model: ModelFolder
    shape: ModelShape  # of the model
    dtype: Number  # to generate with
    prefix: str  # demonstrations
    texts: list[str]  # what follows them
    reward_model: RewardModelOptions
    launch: LaunchOptions
    text_tokens: int  # of a text in training, about
    out: Path


def calibrate(job: CalibrationJob, anew: bool) -> ThisMachine:
    """Measure this machine, unless exactly this was measured before.

    Args:
        job: Of any kind; its `out` is the folder of all calibrations.
        anew: Measure in any case.

    Raises:
        UserError: What stopped the program that the user can mend.
    """
    kinds = [job.model_copy(update={"kind": kind}) for kind in ("generation", "training")]
    written, trained = (measure(each, anew) for each in kinds)
    found = trained | written
    del found["seconds"]
    return ThisMachine(model=job.model.name, shape=job.shape, **found)


def measure(job: CalibrationJob, anew: bool) -> dict[str, Any]:
    """Return what the program measures, or has measured of the same job."""
    out = job.out / f"{job.kind}-{identify(job)[:12]}"
    file, job_file = out / METRICS, out / "job.json"
    if anew:
        file.unlink(missing_ok=True)
    if not file.is_file():
        logger.info("calibrating: %s with %s", job.kind, job.model.name, extra=PLAIN)
        out.mkdir(parents=True, exist_ok=True)
        job_file.write_text(job.model_copy(update={"out": out}).model_dump_json(), encoding="utf-8")
        start = time.perf_counter()
        run_program(PROGRAM, job_file, out / "program.log")
        seconds = time.perf_counter() - start
        found = json.loads(file.read_text(encoding="utf-8"))
        found["start_seconds"] = round(max(0.0, seconds - found["seconds"]), 2)
        file.write_text(json.dumps(found), encoding="utf-8")
    measured: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return measured


def identify(job: CalibrationJob) -> str:
    """Return what decides the result: machine, model, options, and versions of all code."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return digest(
        [platform.node(), platform.machine(), os.cpu_count(), memory],
        os.environ.get("OMP_NUM_THREADS"),
        [version(name) for name in ("torch", "transformers", "trl")],
        hash_sources(),
        job.model.fingerprint,
        job.model_dump(mode="json", exclude={"out": True, "model": True, "launch": PLACES}),
    )


def hash_sources() -> str:
    """Hash the code that decides how fast a machine is."""
    hashed = hashlib.sha256()
    for name in SOURCES:
        place = PACKAGE / name
        for file in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            hashed.update(file.read_bytes())
    return hashed.hexdigest()
