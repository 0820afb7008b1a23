"""Checks a model by a child program, unless exactly this model was checked before."""

from __future__ import annotations

import logging
import tempfile
from contextlib import suppress
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

from almost_kedro.contract import ModelFolder, digest
from almost_kedro.errors import UserError
from almost_kedro.models.checks.job import VERSION, CheckJob, Findings, Use
from almost_kedro.processes.run import PLAIN, run_program
from almost_kedro.rows.json_lines import write_whole

logger = logging.getLogger(__name__)
# In the folder of models: findings, in files named after what was checked.
CHECKED = ".checked"


def check_model(model: ModelFolder, weights: bool, store: Path, use: Use) -> None:
    """Warn of a model's oddities; raise UserError if it would fail later at its use.

    `weights` says whether its folder has weights. `store`, the folder of models, keeps the
    findings, so a second check costs nothing.
    """
    found = find(model, weights, store / CHECKED / f"{identify(model, weights)}.json")
    for warning in found.warnings:
        warn(f"model {model.name!r}: {warning}")
    if use in found.refusals:
        raise UserError(f"model {model.name!r}: {found.refusals[use]}")


@lru_cache
def find(model: ModelFolder, weights: bool, kept: Path) -> Findings:
    """Return the findings of an earlier check, or run the program and keep its findings."""
    if kept.is_file():
        return Findings.model_validate_json(kept.read_bytes())
    with tempfile.TemporaryDirectory() as scratch:
        job = CheckJob(model=model, weights=weights, out=Path(scratch) / "found.json")
        job_file = Path(scratch) / "job.json"
        job_file.write_text(job.model_dump_json(), encoding="utf-8")
        run_program("almost_kedro.models.checks.program", job_file, Path(scratch) / "check.log")
        content = job.out.read_bytes()
    # A folder of models that many share may be read-only: then every run checks for itself.
    with suppress(OSError):
        kept.parent.mkdir(parents=True, exist_ok=True)
        with write_whole(kept) as file:
            file.write(content)
    return Findings.model_validate_json(content)


@lru_cache
def warn(line: str) -> None:
    """Warn once in a run, though a model is resolved by many nodes."""
    logger.warning("%s", line, extra=PLAIN)


def identify(model: ModelFolder, weights: bool) -> str:
    """Identify what is checked, files by size and time: their content may be large."""
    assert model.folder
    paths = sorted(path for path in model.folder.iterdir() if path.exists())
    stats = [path.stat() for path in paths]
    files = [
        [path.name, stat.st_size, stat.st_mtime_ns] for path, stat in zip(paths, stats, strict=True)
    ]
    how = [model.bos, model.trust_remote_code, model.pad_token, weights]
    return digest(VERSION, version("transformers"), str(model.folder.resolve()), files, how)[:16]
