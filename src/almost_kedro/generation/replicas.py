"""Several workers that run one model side by side, each with its own GPUs or cores.

They are programs of their own (`generation.replica`), each with an engine, and answer every n-th
request. Only the worker that started them knows the request cache.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from typing import Any, Self

import torch

from almost_kedro.contract import Completion, ModelFolder, Request, Sampling
from almost_kedro.errors import UserError
from almost_kedro.generation.replica_job import ReplicaJob
from almost_kedro.options.generation import GenerationOptions
from almost_kedro.processes.conversation import Conversation, converse

OPTION = "generation.replicas"


def count_replicas(options: GenerationOptions) -> int:
    """Return how many replicas there are to be; `auto` is as many as there are GPUs for.

    Raises:
        UserError: More of them are asked for than there are GPUs, or cores where there is no GPU.
    """
    gpus, each = list_gpus(), count_gpus(options)
    most = len(gpus) // each if gpus else len(list_cores())
    if options.replicas == "auto":
        return max(1, most) if gpus else 1
    if options.replicas > max(1, most):
        found = f"{len(gpus)} GPUs" if gpus else f"{most} cores and no GPU"
        of_each = f", {each} for each (tensor_parallel)" if each > 1 else ""
        raise UserError(
            f"option {OPTION}: {options.replicas}, but there are {found}{of_each}; lower it, or "
            "set it to auto"
        )
    return options.replicas


def count_gpus(options: GenerationOptions) -> int:
    """Return on how many GPUs a replica runs, where there are any."""
    return options.tensor_parallel if options.engine == "vllm" else 1


def list_gpus() -> list[str]:
    """Return the GPUs of this process by the names that CUDA_VISIBLE_DEVICES takes."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = visible.split(",") if visible else list(map(str, range(torch.cuda.device_count())))
    return names[: torch.cuda.device_count()]


def list_cores() -> list[int]:
    """Return the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def assign(number: int, n: int, options: GenerationOptions) -> tuple[dict[str, str], list[int]]:
    """Return the environment and the cores of a replica; all cores where it has GPUs of its own."""
    gpus, cores = list_gpus(), list_cores()
    if gpus:
        each = count_gpus(options)
        return {"CUDA_VISIBLE_DEVICES": ",".join(gpus[number * each :][:each])}, cores
    own = cores[number * len(cores) // n : (number + 1) * len(cores) // n]
    return {"OMP_NUM_THREADS": str(len(own))}, own


class Replicas:
    """The replicas of one model, as one engine; see `generation.engine.Engine`."""

    def __init__(self, model: ModelFolder, options: GenerationOptions, n: int):
        """Start n programs, and wait until all have loaded the model."""
        self._open = ExitStack()
        self.replicas: list[Conversation] = []
        shares = 1 if list_gpus() else n  # of the memory
        for number in range(n):
            env, cores = assign(number, n, options)
            job = ReplicaJob(model=model, generation=options, cores=cores, shares=shares)
            name = f"replica {number + 1} of {model.name}"
            started = converse(name, "almost_kedro.generation.replica", job.model_dump_json(), env)
            self.replicas.append(self._open.enter_context(started))
        for replica in self.replicas:
            replica.receive()

    def __enter__(self) -> Self:
        """Return the engine."""
        return self

    def __exit__(self, *error: Any) -> None:
        """End the programs."""
        self._open.close()

    def generate(
        self, requests: Sequence[Request], sampling: Sampling, on_tokens: Callable[[int], None]
    ) -> Iterator[tuple[int, Completion]]:
        """See `generation.engine.Engine`; a replica's error is raised as soon as it is known."""
        replies: queue.SimpleQueue[Any] = queue.SimpleQueue()
        n = len(self.replicas)
        for number, replica in enumerate(self.replicas):
            share = requests[number::n]
            if not share:
                continue
            asked = {"requests": [asdict(each) for each in share], "sampling": asdict(sampling)}
            places = range(number, len(requests), n)
            threading.Thread(
                target=listen, args=(replica, asked, places, replies), daemon=True
            ).start()
        for _ in requests:
            found = replies.get()
            if isinstance(found, BaseException):
                raise found
            place, reply = found
            on_tokens(reply["tokens"])
            yield place, Completion(**reply["completion"])


def listen(
    replica: Conversation,
    asked: Mapping[str, Any],
    places: Sequence[int],
    replies: queue.SimpleQueue[Any],
) -> None:
    """Ask a replica, and hand on its replies, each with its place among all requests."""
    try:
        replica.send(asked)
        for _ in places:
            reply = replica.receive()
            replies.put((places[reply["number"]], reply))
    except Exception as exc:
        replies.put(exc)
