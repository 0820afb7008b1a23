"""The generation worker: a child program that carries out one job file and writes one folder.

Run by hand: `python -m almost_kedro.generation.worker JOB.json`. It writes `result.json` (rows),
then `metrics.json`; a result is there whole or not at all.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

from almost_kedro.errors import UserError
from almost_kedro.feedback.prompts import generate_prompts, read_seed_file
from almost_kedro.generation.cache import CompletionCache
from almost_kedro.generation.engine import Request
from almost_kedro.generation.generator import Generator
from almost_kedro.generation.job import Job, PromptsTask, ResponsesTask
from almost_kedro.generation.progress import Progress
from almost_kedro.programs import die_with_parent
from almost_kedro.wordpiece import choose_tokenizers


def main(job_file: str) -> int:
    """Carry out a job file; returns the exit status, with one line on stderr if it failed."""
    die_with_parent()
    try:
        run_job(Job.model_validate_json(Path(job_file).read_text(encoding="utf-8")))
    except UserError as exc:
        print(f"error: {exc}", file=sys.stderr, flush=True)
        return 2
    return 0


def run_job(job: Job) -> None:
    """Do the task, then write result and metrics."""
    start = time.perf_counter()
    task = job.task
    name = f"{task.kind} ({job.model.name})"
    if isinstance(task, PromptsTask):
        progress = Progress(name, task.options.n_prompts)
    else:
        progress = Progress(name, sum(len(group.texts) for group in task.groups))
    with CompletionCache(job.cache) as cache:
        generator = Generator(job, cache, progress)
        if isinstance(task, PromptsTask):
            result = write_prompts(task, generator)
        else:
            result = write_responses(task, generator)
    progress.finish()
    job.out.mkdir(parents=True, exist_ok=True)
    _write_json(job.out / "result.json", result)
    _write_json(job.out / "metrics.json", measure(generator, time.perf_counter() - start))


def write_prompts(task: PromptsTask, generator: Generator) -> dict[str, Any]:
    """Generate prompts in rounds; progress counts accepted prompts."""
    run = generate_prompts(
        read_seed_file(task.seed_file),
        task.options,
        task.rules,
        task.seed,
        generator.generate,
        choose_tokenizers(task.rules, task.options.wordpiece),
        generator.progress.set_rows,
    )
    return {"prompts": run.prompts, "requests": run.requests, "ledger": run.ledger}


def write_responses(task: ResponsesTask, generator: Generator) -> dict[str, Any]:
    """Continue the texts of every group."""
    results = {}
    for group in task.groups:
        requests = [Request(text, group.prefix) for text in group.texts]
        results[group.name] = [
            {"key": key, **completion.__dict__}
            for key, completion in generator.generate(
                requests, group.sampling, generator.progress.add_rows
            )
        ]
    return results


def measure(generator: Generator, seconds: float) -> dict[str, float]:
    """Return what the job cost."""
    spent = generator.generate_seconds
    return {
        "requests_generated": generator.generated_requests,
        "requests_from_cache": generator.cached_requests,
        "tokens_generated": generator.generated_tokens,
        "tokens_per_second": round(generator.generated_tokens / spent, 1) if spent else 0.0,
        "load_seconds": round(generator.load_seconds, 2),
        "generate_seconds": round(spent, 2),
        "seconds": round(seconds, 2),
        "peak_memory_mb": round(peak_memory() / 2**20, 1),
    }


def peak_memory() -> int:
    """Return this process's largest resident size in bytes; the unit differs between systems."""
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size if sys.platform == "darwin" else size * 1024


def _write_json(path: Path, value: Any) -> None:
    part = path.with_suffix(".part")
    part.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
    os.replace(part, path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
