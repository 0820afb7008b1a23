"""Measures what this machine does with a model, for the plan: about ten seconds a job.

Run by hand: `python -m almost_kedro.plan.calibrate JOB.json`. It writes `metrics.json`: of a job
`generation`, how fast the embedded engine writes with and without demonstrations, and how fast a
reward model reads; of a job `training`, how fast a reward model and a policy are trained.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from almost_kedro.generation.embedded import EmbeddedEngine, choose_dtype
from almost_kedro.generation.engine import Request, Sampling
from almost_kedro.generation.worker import peak_memory
from almost_kedro.json_lines import write_whole
from almost_kedro.plan.calibration_job import CalibrationJob
from almost_kedro.programs import carry_out
from almost_kedro.training.job import TrainingJob
from almost_kedro.training.lm_head import score_labels
from almost_kedro.training.precision import choose_attention, use_bfloat16_copies
from almost_kedro.training.reward import check_architecture
from almost_kedro.training.score import RewardScorer

# Seconds that one measurement may take, and its decoding steps at least and at most.
SECONDS, LEAST_STEPS, MOST_STEPS = 2.5, 4, 32
FEW_ROWS = 8
# Where the size of a container's memory stands.
CGROUP = Path("/sys/fs/cgroup/memory.max")


def run_job(job: CalibrationJob) -> None:
    """Measure."""
    start = time.perf_counter()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    measure = measure_generation if job.kind == "generation" else measure_training
    found = measure(job, device)
    found |= {"device": device.type, "memory_mb": find_memory(device), "peak_mb": peak_mb(device)}
    found["seconds"] = round(time.perf_counter() - start, 2)
    with write_whole(job.out / "metrics.json") as file:
        file.write(json.dumps(found).encode())


def measure_generation(job: CalibrationJob, device: torch.device) -> dict[str, Any]:
    """Measure reading, and writing: few rows, many rows, many rows after demonstrations."""
    assert job.model.folder
    start = time.perf_counter()
    # Without a size, the engine chooses one.
    size: dict[str, Any] = {"batch_size": job.batch_size} if job.batch_size else {}
    engine = EmbeddedEngine(
        job.model.folder,
        dtype=job.dtype,
        bos=job.model.bos,
        trust_remote_code=job.model.trust_remote_code,
        **size,
    )
    load_seconds = time.perf_counter() - start
    few = write(engine, job, FEW_ROWS, "", LEAST_STEPS)
    steps = choose_steps(few["seconds"] / few["steps"])
    found = {
        "few": write(engine, job, FEW_ROWS, "", steps),
        "short": write(engine, job, job.rows, "", choose_steps(few["seconds"] / few["steps"] * 3)),
    }
    each = found["short"]["seconds"] / found["short"]["steps"]
    found["prefix"] = write(engine, job, job.rows, job.prefix, choose_steps(each * 1.5))
    peak = peak_mb(device)
    del engine
    gc.collect()
    return {
        "dtype": str(choose_dtype(job.dtype)).removeprefix("torch."),
        "load_seconds": round(load_seconds, 2),
        "writing_peak_mb": peak,
        "writing": found,
        "read_tokens": read(job, device),
    }


def choose_steps(step_seconds: float) -> int:
    """Return how many decoding steps there is time for."""
    return max(LEAST_STEPS, min(MOST_STEPS, int(SECONDS / max(step_seconds, 1e-6))))


def write(
    engine: EmbeddedEngine, job: CalibrationJob, n: int, prefix: str, steps: int
) -> dict[str, float]:
    """Let the engine write, and time all but the first step, which reads the prompts."""
    requests = [
        Request(text, prefix, sample) for sample, text in enumerate(islice(cycle(job.texts), n))
    ]
    times: list[tuple[float, int]] = []
    sampling = Sampling(temperature=1.0, top_p=0.9, max_new_tokens=steps + 1)
    for _ in engine.generate(
        requests, sampling, lambda tokens: times.append((time.perf_counter(), tokens))
    ):
        pass
    lengths = [len(ids) for ids in engine.encode([prefix + each.text for each in requests])]
    return {
        "rows": n,
        "steps": len(times) - 1,
        "tokens": sum(tokens for _, tokens in times[1:]),
        "seconds": times[-1][0] - times[0][0],
        "context": sum(lengths) / n + steps / 2,
        "longest": max(lengths),
        "prefix": len(engine.encode([prefix])[0]) if prefix else 0,
    }


def read(job: CalibrationJob, device: torch.device) -> float:
    """Return how many tokens a reward model reads in a second."""
    check_architecture(job.model)
    scorer = RewardScorer(job.model, choose_dtype(job.launch.dtype), device, 0)
    rows = draw_rows(scorer.model, 2, job.text_tokens)
    scorer.score_batch(rows)
    seconds = time_once(lambda: scorer.score_batch(rows), device)
    n = fit_rows(seconds / len(rows), 4096 // job.text_tokens)
    rows = draw_rows(scorer.model, n, job.text_tokens)
    return n * job.text_tokens / time_once(lambda: scorer.score_batch(rows), device)


def measure_training(job: CalibrationJob, device: torch.device) -> dict[str, Any]:
    """Measure a step of a reward model, then one of a policy, as the programs compute them."""
    training = TrainingJob(
        program="reward",
        name="calibration",
        base=job.model,
        rows=job.out,
        rows_sha256="",
        options=job.reward_model.model_copy(update={"gradient_checkpointing": False}),
        separator="",
        seed=0,
        launch=job.launch,
        accelerate=job.out,
        out=job.out,
    )
    found = measure_reward_model(training, job, device)
    gc.collect()
    return {**found, "policy_tokens": measure_policy(training, job, device)}


def measure_reward_model(
    training: TrainingJob, job: CalibrationJob, device: torch.device
) -> dict[str, Any]:
    """Measure a step of a reward model: both passes, then the optimiser; and its memory."""
    model = load(AutoModelForSequenceClassification, training, job, device, num_labels=1)
    model.config.pad_token_id = 0
    start_mb = peak_mb(device)

    def step(ids: torch.Tensor) -> None:
        chosen, rejected = model(input_ids=ids).logits[:, 0].float().chunk(2)
        torch.autograd.backward(-torch.nn.functional.logsigmoid(chosen - rejected).mean())

    n, tokens = train(step, model, job, device)
    optimiser = torch.optim.AdamW(model.parameters())
    optimiser.step()
    update = time_once(optimiser.step, device)
    # With the moments beside it, as in every step but the first.
    step(draw(model, n, job.text_tokens, device))
    return {
        "reward_tokens": tokens,
        "update_seconds": update,
        "training_rows": n,
        "text_tokens": job.text_tokens,
        "copies": choose_dtype(job.launch.dtype) == torch.bfloat16 and job.launch.config == "cpu",
        "training_peak_mb": peak_mb(device),
        "training_start_mb": start_mb,
    }


def measure_policy(training: TrainingJob, job: CalibrationJob, device: torch.device) -> float:
    """Return how many tokens a second a policy is trained on; half of them are labelled."""
    model = load(AutoModelForCausalLM, training, job, device)

    def step(ids: torch.Tensor) -> None:
        half = ids.shape[1] // 2
        logits = model(input_ids=ids, use_cache=False, logits_to_keep=half + 1).logits[:, :-1]
        flat = logits.reshape(-1, logits.shape[-1])
        log_probs, _, _ = score_labels(flat, ids[:, -half:].ravel(), 1.0)
        torch.autograd.backward(-log_probs.mean())

    return train(step, model, job, device)[1]


def load(
    kind: Any, training: TrainingJob, job: CalibrationJob, device: torch.device, **more: Any
) -> Any:
    """Load a model as its training program does."""
    attention = choose_attention(training, [job.text_tokens])
    model = kind.from_pretrained(job.model.folder, dtype=torch.float32, **attention, **more)
    model.to(device).train()
    use_bfloat16_copies(model, training)
    return model


def train(
    step: Callable[[torch.Tensor], None], model: Any, job: CalibrationJob, device: torch.device
) -> tuple[int, float]:
    """Return with how many rows a step was measured, and how many tokens it trains on a second."""
    ids = draw(model, 2, job.text_tokens, device)
    step(ids)
    seconds = time_once(lambda: step(ids), device)
    n = 2 * max(1, fit_rows(seconds / 2, 2 * job.reward_model.batch_size) // 2)
    ids = draw(model, n, job.text_tokens, device)
    return n, n * job.text_tokens / time_once(lambda: step(ids), device)


def fit_rows(row_seconds: float, most: int) -> int:
    """Return how many rows there is time for."""
    return max(1, min(most, int(SECONDS / max(row_seconds, 1e-6))))


def draw_rows(model: Any, n: int, length: int) -> list[list[int]]:
    """Draw rows of token ids; what they say changes no speed."""
    generator = torch.Generator().manual_seed(0)
    size = model.config.get_text_config().vocab_size
    rows: list[list[int]] = torch.randint(1, size, (n, length), generator=generator).tolist()
    return rows


def draw(model: Any, n: int, length: int, device: torch.device) -> torch.Tensor:
    """Draw rows as a tensor, (n, length)."""
    return torch.tensor(draw_rows(model, n, length), device=device)


def time_once(act: Callable[[], Any], device: torch.device) -> float:
    """Return how long something takes."""
    start = time.perf_counter()
    act()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def peak_mb(device: torch.device) -> float:
    """Return the memory used at most so far, of the GPU if there is one."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return peak_memory() / 2**20


def find_memory(device: torch.device) -> float:
    """Return the memory of the GPU, or of the machine, or what a container may take of it."""
    if device.type == "cuda":
        return float(torch.cuda.get_device_properties(device).total_memory / 2**20)
    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = CGROUP.read_text().strip() if CGROUP.is_file() else "max"
    return min(whole, int(limit) if limit.isdigit() else whole) / 2**20


def main(job_file: str) -> int:
    """Carry out a job file; returns the exit status, with one line on stderr if it failed."""
    return carry_out(lambda text: run_job(CalibrationJob.model_validate_json(text)), job_file)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
