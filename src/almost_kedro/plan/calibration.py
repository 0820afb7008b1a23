"""The Kedro side of the calibration: runs its program, once a machine and model."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from almost_kedro.generation.engine import digest
from almost_kedro.options import ModelShape
from almost_kedro.plan.calibration_job import CalibrationJob
from almost_kedro.plan.machine import MB, Calibration
from almost_kedro.plan.memory import (
    BFLOAT16,
    FLOAT32,
    TRAINED,
    activation_bytes,
    generation_bytes,
)
from almost_kedro.plan.work import Ask
from almost_kedro.programs import PLAIN, run_program
from almost_kedro.work_folders import METRICS

logger = logging.getLogger(__name__)
PROGRAM = "almost_kedro.plan.calibrate"
# Code that decides how fast a machine is.
SOURCES = (
    "generation",
    "training",
    "plan/calibrate.py",
    "plan/probes.py",
    "plan/training_steps.py",
)


def calibrate(
    jobs: tuple[CalibrationJob, CalibrationJob], shape: ModelShape, work: Path, anew: bool
) -> Calibration:
    """Measure this machine, unless exactly this was measured before.

    Args:
        jobs: Of both kinds, for generating and for training.
        shape: Size of their model.
        work: Folder of all calibrations.
        anew: Measure in any case.

    Raises:
        UserError: What stopped the program that the user can mend.
    """
    found = []
    for job in jobs:
        out = work / f"{job.kind}-{identify(job)[:12]}"
        file = out / METRICS
        if anew:
            file.unlink(missing_ok=True)
        if not file.is_file():
            _run(job.model_copy(update={"out": out}))
        found.append(json.loads(file.read_text(encoding="utf-8")))
    return read_calibration(jobs[0].model.name, shape, found[0], found[1])


def _run(job: CalibrationJob) -> None:
    logger.info("calibrating: %s with %s", job.kind, job.model.name, extra=PLAIN)
    job.out.mkdir(parents=True, exist_ok=True)
    job_file = job.out / "job.json"
    job_file.write_text(job.model_dump_json(), encoding="utf-8")
    start = time.perf_counter()
    run_program(PROGRAM, job_file, job.out / "program.log")
    seconds = time.perf_counter() - start
    file = job.out / METRICS
    metrics = json.loads(file.read_text(encoding="utf-8"))
    metrics["start_seconds"] = round(max(0.0, seconds - metrics["seconds"]), 2)
    file.write_text(json.dumps(metrics), encoding="utf-8")


def identify(job: CalibrationJob) -> str:
    """Return what decides the result: machine, model, options, and versions of all code."""
    machine = [platform.node(), platform.machine(), os.cpu_count(), count_memory()]
    threads = os.environ.get("OMP_NUM_THREADS")
    packages = [version(name) for name in ("torch", "transformers", "trl")]
    return digest(
        machine,
        threads,
        packages,
        hash_sources(),
        job.model.fingerprint,
        job.model_dump(mode="json", exclude={"out", "model"}),
    )


def count_memory() -> int:
    """Return the bytes that the machine has."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def hash_sources() -> str:
    """Hash the code that decides how fast a machine is."""
    root = Path(__file__).parents[1]
    hashed = hashlib.sha256()
    for name in SOURCES:
        place = root / name
        for file in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            hashed.update(file.read_bytes())
    return hashed.hexdigest()


def read_calibration(
    model: str, shape: ModelShape, written: Mapping[str, Any], trained: Mapping[str, Any]
) -> Calibration:
    """Derive rates from what the program measured.

    A decoding step takes a constant and a part for each row, which grows with what is before the
    row: three measurements say all three.

    Args:
        model: The model's name.
        shape: Its size.
        written: `metrics.json` of the job `generation`.
        trained: The same of `training`.
    """
    number = BFLOAT16 if written["dtype"] == "bfloat16" else FLOAT32
    few, short, prefix = (written["writing"][name] for name in ("few", "short", "prefix"))
    step, row, context = solve_steps(few, short, prefix)
    shared = prefix["prefix"]
    ask = Ask(prefix["rows"], shared, prefix["longest"] - shared, 0, prefix["steps"])
    counted = generation_bytes(shape, prefix["rows"], ask, number)
    # Weights as they are loaded, then all that training adds.
    base = trained["training_start_mb"] - shape.parameters * FLOAT32 / MB
    held = trained["training_peak_mb"] - base
    copies = BFLOAT16 if trained["copies"] else 0
    held -= shape.parameters * (TRAINED + copies) / MB
    per_token = held * MB / (trained["training_rows"] * trained["text_tokens"])
    return Calibration(
        model=model,
        shape=shape,
        device=written["device"],
        dtype=written["dtype"],
        memory_mb=written["memory_mb"],
        start_seconds=written["start_seconds"],
        load_seconds=written["load_seconds"],
        read_tokens=written["read_tokens"],
        step_seconds=step,
        token_seconds=row,
        context_seconds=context,
        short_tokens=short["step_rows"] / short["step_seconds"],
        prefix_tokens=prefix["step_rows"] / prefix["step_seconds"],
        reward_tokens=trained["reward_tokens"],
        policy_tokens=trained["policy_tokens"],
        update_seconds=trained["update_seconds"],
        generation_base_mb=max(0.0, written["writing_peak_mb"] - counted / MB),
        training_base_mb=max(0.0, base),
        activation_bytes=max(per_token, activation_bytes(shape)),
    )


def solve_steps(
    few: Mapping[str, float], short: Mapping[str, float], prefix: Mapping[str, float]
) -> tuple[float, float, float]:
    """Split a decoding step's time into a constant, a row's part, and that of a token before it.

    Args:
        few: A few rows after short prompts.
        short: Many rows after short prompts.
        prefix: Many rows after demonstrations.

    Returns:
        Seconds a step, a row, and a row and token before it; none is negative.
    """
    times = [each["step_seconds"] for each in (few, short, prefix)]
    rows = [each["step_rows"] for each in (few, short, prefix)]
    spread = max(rows[1] - rows[0], 1e-9)
    row = max(0.0, min((times[1] - times[0]) / spread, times[1] / rows[1]))
    step = max(0.0, times[1] - row * rows[1])
    longer = max(prefix["context"] - short["context"], 1e-9)
    context = max(0.0, (times[2] - step - row * rows[2]) / rows[2] / longer)
    # What a row takes after a short prompt has that prompt in it.
    return step, max(0.0, row - context * short["context"]), context
