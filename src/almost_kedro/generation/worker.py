"""The generation worker: a child program that carries out job files, one after the other.

Run by hand: `python -m almost_kedro.generation.worker JOB.json ...`. For each job it writes rows as
JSON lines: for prompts `prompts.jsonl`, `requests.jsonl` and `ledger.jsonl`, for responses
`answers_N.jsonl` for group N, from 0. Then it writes `metrics.json`: now the job is done.
"""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import closing
from pathlib import Path

from almost_kedro.contract import Request
from almost_kedro.feedback.prompts import generate_prompts
from almost_kedro.feedback.seeds import read_seed_file
from almost_kedro.feedback.wordpiece import choose_tokenizers
from almost_kedro.generation.cache import CompletionCache
from almost_kedro.generation.generator import Generator
from almost_kedro.generation.job import KEYS_VARIABLE, Job, PromptsTask, ResponsesTask
from almost_kedro.generation.memory import release_memory
from almost_kedro.processes.child import carry_out
from almost_kedro.processes.memory import measure_memory
from almost_kedro.processes.progress import Progress
from almost_kedro.rows.json_lines import write_json, write_rows


def main(*job_files: str) -> int:
    """Carry out job files; return the exit status, with one line on stderr if it failed."""
    return carry_out(lambda text: run_job(Job.model_validate_json(text)), *job_files)


def run_job(job: Job) -> None:
    """Do the task, then write what it cost."""
    start = time.perf_counter()
    # Engines measure the free memory; an earlier job may have left some to release.
    release_memory()
    task = job.task
    name = f"{task.kind} ({job.model.name})"
    if isinstance(task, PromptsTask):
        progress = Progress(name, task.options.n_prompts)
    else:
        progress = Progress(name, sum(len(group.texts) * group.samples for group in task.groups))
    job.out.mkdir(parents=True, exist_ok=True)
    with CompletionCache(job.cache) as cache:
        generator = Generator(job, cache, progress, json.loads(os.environ.get(KEYS_VARIABLE, "{}")))
        with closing(generator):
            if isinstance(task, PromptsTask):
                write_prompts(task, generator, job.out)
            else:
                write_responses(task, generator, job.out)
    progress.finish()
    write_json(job.out / "metrics.json", measure(generator, time.perf_counter() - start))


def write_prompts(task: PromptsTask, generator: Generator, out: Path) -> None:
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
    write_rows(out / "prompts.jsonl", run.prompts)
    write_rows(out / "requests.jsonl", run.requests)
    write_rows(out / "ledger.jsonl", run.ledger)


def write_responses(task: ResponsesTask, generator: Generator, out: Path) -> None:
    """Continue the texts of every group."""
    for number, group in enumerate(task.groups):
        requests = [
            Request(text, group.prefix, sample)
            for text in group.texts
            for sample in range(group.samples)
        ]
        answers = generator.generate(requests, group.sampling, generator.progress.add_rows)
        rows = ({"key": key, **completion.__dict__} for key, completion in answers)
        write_rows(out / f"answers_{number}.jsonl", rows)


def measure(generator: Generator, seconds: float) -> dict[str, float]:
    """Return what the job cost."""
    spent = generator.generate_seconds
    return {
        "requests_generated": generator.generated_requests,
        "requests_from_cache": generator.cached_requests,
        "requests_refused": generator.refused_requests,
        "tokens_generated": generator.generated_tokens,
        "tokens_per_second": round(generator.generated_tokens / spent, 1) if spent else 0.0,
        "load_seconds": round(generator.load_seconds, 2),
        "generate_seconds": round(spent, 2),
        "seconds": round(seconds, 2),
        **measure_memory(),
    }


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
