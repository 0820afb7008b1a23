"""Measures what this machine does with a model, for the plan: about ten seconds a job.

Run by hand: `python -m almost_kedro.commands.plan.calibrate JOB.json`. It writes `metrics.json`,
with fields of `ThisMachine`: of a job `generation`, how fast the embedded engine writes with and
without demonstrations, and how fast a reward model reads; of a job `training`, how fast a reward
model and a policy are trained.
"""

from __future__ import annotations

import gc
import sys
import time
from itertools import cycle, islice, pairwise
from statistics import fmean, median
from typing import Any

import torch

from almost_kedro.commands.plan.calibration import CalibrationJob
from almost_kedro.commands.plan.machine import Steps, solve_steps, solve_writing
from almost_kedro.commands.plan.memory import BATCH_TOKENS
from almost_kedro.commands.plan.probes import peak_mb, time_rows
from almost_kedro.commands.plan.training_steps import measure_training
from almost_kedro.commands.plan.workload import Ask
from almost_kedro.contract import Request, Sampling
from almost_kedro.generation.embedded import EmbeddedEngine
from almost_kedro.generation.memory import whole_memory
from almost_kedro.generation.number_format import choose_dtype
from almost_kedro.processes.child import carry_out
from almost_kedro.rows.json_lines import write_json
from almost_kedro.training.reward import check_architecture
from almost_kedro.training.score import RewardScorer

# Seconds that one measurement may take.
SECONDS = 0.7
# Decoding steps of one measurement at least and at most, and what few rows are.
LEAST_STEPS, MOST_STEPS, FEW_ROWS, MANY_ROWS = 5, 32, 8, 64


def run_job(job: CalibrationJob) -> None:
    """Measure."""
    start = time.perf_counter()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    measure = measure_generation if job.kind == "generation" else measure_training
    found = measure(job, device)
    write_json(job.out / "metrics.json", {**found, "seconds": time.perf_counter() - start})


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
    first = write(engine, job, FEW_ROWS, "", 0).seconds
    few = write(engine, job, FEW_ROWS, "", first)
    short = write(engine, job, MANY_ROWS, "", first * 3)
    prefix = write(engine, job, MANY_ROWS, job.prefix, short.seconds * 1.5)
    number = choose_dtype(job.dtype, device).itemsize
    base_mb = solve_writing(job.shape, prefix, number, peak_mb())
    del engine
    gc.collect()
    step, row, context = solve_steps(few, short, prefix)
    return {
        "device": device.type,
        "memory_mb": whole_memory(device) / 2**20,
        "number": number,
        "generation_base_mb": base_mb,
        "load_seconds": load_seconds,
        "read_tokens": read(job, device),
        "step_seconds": step,
        "token_seconds": row,
        "context_seconds": context,
        "short_tokens": short.rows / short.seconds,
        "prefix_tokens": prefix.rows / prefix.seconds,
    }


def write(
    engine: EmbeddedEngine, job: CalibrationJob, n: int, prefix: str, expected: float
) -> Steps:
    """Let the engine write n rows, and time its steps: the median, as others may compute, too.

    It takes as many steps as there is time for, if one takes the expected seconds; 0: the least.
    """
    steps = max(LEAST_STEPS, min(MOST_STEPS, int(SECONDS / expected))) if expected else LEAST_STEPS
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
    shared = len(engine.encode([prefix])[0]) if prefix else 0
    return Steps(
        seconds=median(seconds),
        rows=fmean(tokens for _, tokens in times[1:]),
        context=fmean(lengths) + steps / 2,
        ask=Ask(n, shared, max(lengths) - shared, 0, len(seconds)),
    )


def read(job: CalibrationJob, device: torch.device) -> float:
    """Return how many tokens a reward model reads in a second."""
    check_architecture(job.model)
    scorer = RewardScorer(job.model, choose_dtype(job.launch.dtype, device), device)
    most = BATCH_TOKENS // job.text_tokens
    return time_rows(scorer.score, scorer.model, job.text_tokens, most, SECONDS)[1]


def main(job_file: str) -> int:
    """Carry out a job file; returns the exit status, with one line on stderr if it failed."""
    return carry_out(lambda text: run_job(CalibrationJob.model_validate_json(text)), job_file)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
