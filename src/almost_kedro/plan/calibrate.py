"""Measures what this machine does with a model, for the plan: about ten seconds a job.

Run by hand: `python -m almost_kedro.plan.calibrate JOB.json`. It writes `metrics.json`: of a job
`generation`, how fast the embedded engine writes with and without demonstrations, and how fast a
reward model reads; of a job `training`, how fast a reward model and a policy are trained.
"""

from __future__ import annotations

import gc
import sys
import time
from itertools import cycle, islice, pairwise
from statistics import fmean, median
from typing import Any

import torch

from almost_kedro.generation.embedded import EmbeddedEngine, choose_dtype
from almost_kedro.generation.engine import Request, Sampling
from almost_kedro.generation.memory import whole_memory
from almost_kedro.json_lines import write_json
from almost_kedro.plan.calibration_job import CalibrationJob
from almost_kedro.plan.probes import SECONDS, draw_rows, fit_rows, peak_mb, time_best
from almost_kedro.plan.training_steps import measure_training
from almost_kedro.programs import carry_out
from almost_kedro.training.reward import check_architecture
from almost_kedro.training.score import RewardScorer

# Decoding steps of one measurement at least and at most, and what few rows are.
LEAST_STEPS, MOST_STEPS, FEW_ROWS, MANY_ROWS = 5, 32, 8, 64


def run_job(job: CalibrationJob) -> None:
    """Measure."""
    start = time.perf_counter()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    measure = measure_generation if job.kind == "generation" else measure_training
    found = measure(job, device)
    found |= {
        "device": device.type,
        "memory_mb": whole_memory(device) / 2**20,
        "peak_mb": peak_mb(device),
    }
    found["seconds"] = round(time.perf_counter() - start, 2)
    write_json(job.out / "metrics.json", found)


def measure_generation(job: CalibrationJob, device: torch.device) -> dict[str, Any]:
    """Measure reading, and writing: few rows, many rows, many rows after demonstrations."""
    assert job.model.folder
    start = time.perf_counter()
    engine = EmbeddedEngine(
        job.model.folder,
        dtype=job.dtype,
        bos=job.model.bos,
        trust_remote_code=job.model.trust_remote_code,
    )
    load_seconds = time.perf_counter() - start
    # The first one warms up, and tells how much there is time for.
    first = write(engine, job, FEW_ROWS, "", LEAST_STEPS)["step_seconds"]
    few = write(engine, job, FEW_ROWS, "", choose_steps(first))
    short = write(engine, job, MANY_ROWS, "", choose_steps(first * 3))
    prefix = write(engine, job, MANY_ROWS, job.prefix, choose_steps(short["step_seconds"] * 1.5))
    peak = peak_mb(device)
    del engine
    gc.collect()
    return {
        "dtype": str(choose_dtype(job.dtype, device)).removeprefix("torch."),
        "load_seconds": round(load_seconds, 2),
        "writing_peak_mb": peak,
        "writing": {"few": few, "short": short, "prefix": prefix},
        "read_tokens": read(job, device),
    }


def choose_steps(step_seconds: float) -> int:
    """Return how many decoding steps there is time for."""
    return max(LEAST_STEPS, min(MOST_STEPS, int(SECONDS / max(step_seconds, 1e-6))))


def write(
    engine: EmbeddedEngine, job: CalibrationJob, n: int, prefix: str, steps: int
) -> dict[str, float]:
    """Let the engine write, and time its steps: the median, as others may compute, too."""
    requests = [
        Request(text, prefix, sample) for sample, text in enumerate(islice(cycle(job.texts), n))
    ]
    times: list[tuple[float, int]] = []
    sampling = Sampling(temperature=1.0, top_p=0.9, max_new_tokens=steps + 1)
    for _ in engine.generate(
        requests, sampling, lambda tokens: times.append((time.perf_counter(), tokens))
    ):
        pass
    # The first step reads the prompts.
    seconds = [after - before for (before, _), (after, _) in pairwise(times)]
    lengths = [len(ids) for ids in engine.encode([prefix + each.text for each in requests])]
    return {
        "rows": n,
        "steps": len(seconds),
        "step_seconds": median(seconds),
        "step_rows": fmean(tokens for _, tokens in times[1:]),
        "context": sum(lengths) / n + steps / 2,
        "longest": max(lengths),
        "prefix": len(engine.encode([prefix])[0]) if prefix else 0,
    }


def read(job: CalibrationJob, device: torch.device) -> float:
    """Return how many tokens a reward model reads in a second."""
    check_architecture(job.model)
    scorer = RewardScorer(job.model, choose_dtype(job.launch.dtype, device), device)
    rows = draw_rows(scorer.model, 2, job.text_tokens)
    scorer.score(rows)
    seconds = time_best(lambda: scorer.score(rows), device)
    n = fit_rows(seconds / len(rows), 4096 // job.text_tokens)
    rows = draw_rows(scorer.model, n, job.text_tokens)
    return n * job.text_tokens / time_best(lambda: scorer.score(rows), device)


def main(job_file: str) -> int:
    """Carry out a job file; returns the exit status, with one line on stderr if it failed."""
    return carry_out(lambda text: run_job(CalibrationJob.model_validate_json(text)), job_file)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
