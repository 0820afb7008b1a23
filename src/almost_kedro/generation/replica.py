"""A replica: a program with one engine, which answers its share of a worker's requests.

A request names the requests of the contract and their sampling; each completion is a reply, with
its number among them and the tokens that were generated since the reply before.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from almost_kedro.contract import Request, Sampling
from almost_kedro.generation.replica_job import ReplicaJob
from almost_kedro.processes.child import carry_out
from almost_kedro.processes.conversation import Requests


def run(text: str, requests: Requests) -> None:
    """Load the model, say so, and answer for ever."""
    job = ReplicaJob.model_validate_json(text)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, job.cores)
    # Only now: libraries count the cores when they are loaded.
    from almost_kedro.generation.generator import open_engine

    engine = open_engine(job.model, job.generation, {}, job.shares)
    requests.reply({"kind": "ready"})
    for asked in requests:
        answer(asked, engine, requests)


def answer(asked: dict[str, Any], engine: Any, requests: Requests) -> None:
    """Answer one request of the worker."""
    share = [Request(**each) for each in asked["requests"]]
    sampling = Sampling(**{**asked["sampling"], "stop": tuple(asked["sampling"]["stop"])})
    tokens = 0

    def count(n: int) -> None:
        nonlocal tokens
        tokens += n

    for number, completion in engine.generate(share, sampling, count):
        requests.reply({"number": number, "completion": completion.__dict__, "tokens": tokens})
        tokens = 0


def main(*job_files: str) -> int:
    """Carry out a job file; return the exit status, with one line on stderr if it failed."""
    requests = Requests()
    return carry_out(lambda text: run(text, requests), *job_files, hear=requests.hear)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
