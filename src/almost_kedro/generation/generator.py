"""Answers requests from the cache; an engine is opened only when the cache can't answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from types import MappingProxyType
from typing import TYPE_CHECKING

from almost_kedro.contract import Completion, ModelFolder, Request, Sampling, tell_version
from almost_kedro.errors import UserError
from almost_kedro.generation.cache import CompletionCache
from almost_kedro.generation.engine import ENGINE_VERSIONS, Engine, request_key
from almost_kedro.generation.job import Job
from almost_kedro.options.generation import GenerationOptions
from almost_kedro.processes.progress import Progress

if TYPE_CHECKING:
    from almost_kedro.generation.embedded import EmbeddedEngine


def open_engine(
    model: ModelFolder, options: GenerationOptions, keys: Mapping[str, str], shares: int = 1
) -> Engine:
    """Import and load the engine that the options name, and no other.

    `keys` are by name; `shares` says how many engines the memory is for.
    """
    match options.engine:
        case "embedded":
            return open_embedded(model, options.dtype, shares)
        case "vllm":
            from almost_kedro.generation.vllm import VllmEngine

            return VllmEngine(model, options)
        case "openai":
            from almost_kedro.generation.openai import OpenAIEngine

            return OpenAIEngine(model, options, keys)


def open_embedded(model: ModelFolder, dtype: str, shares: int = 1) -> EmbeddedEngine:
    """Load a model that is on this machine into one of so many embedded engines."""
    from almost_kedro.generation.embedded import EmbeddedEngine

    assert model.folder is not None  # `options` refuses a model that only servers have
    return EmbeddedEngine(
        model.folder,
        dtype=dtype,
        bos=model.bos,
        trust_remote_code=model.trust_remote_code,
        pad_token=model.pad_token,
        chat=model.template is not None,
        shares=shares,
    )


def open_replicas(
    model: ModelFolder, options: GenerationOptions, keys: Mapping[str, str], kept: ExitStack
) -> Engine:
    """Open the engine, in replicas where the options ask for several; `kept` ends these."""
    if options.replicas != 1:
        from almost_kedro.generation.replicas import Replicas, count_replicas

        if (n := count_replicas(options)) > 1:
            return kept.enter_context(Replicas(model, options, n))
    return open_engine(model, options, keys)


class Generator:
    """Answers requests from the cache, and lets the engine generate what is missing."""

    def __init__(
        self,
        job: Job,
        cache: CompletionCache,
        progress: Progress,
        keys: Mapping[str, str] = MappingProxyType({}),
    ):
        """Make a generator that has loaded nothing yet; `keys` are API keys of servers, by name."""
        self.job, self.cache, self.progress, self.keys = job, cache, progress, keys
        self.engine: Engine | None = None
        self.open = ExitStack()
        self.load_seconds = 0.0
        self.generate_seconds = 0.0
        self.generated_tokens = 0
        self.cached_requests = 0
        self.generated_requests = 0
        self.refused_requests = 0

    def close(self) -> None:
        """End what the engine has started."""
        self.open.close()

    @property
    def identity(self) -> str:
        """What all completions of this generator have in common."""
        options, model = self.job.generation, self.job.model
        pad = [f"pad={model.pad_token}"] if model.pad_token else []
        template = [f"template={model.template}"] if model.template else []
        reading = [f"bos={model.bos}", *pad, *template]
        parts = [model.fingerprint, *reading, options.engine, options.dtype]
        return "/".join([*parts, *tell_version(ENGINE_VERSIONS[options.engine])])

    def generate(
        self,
        requests: Sequence[Request],
        sampling: Sampling,
        on_rows: Callable[[int], None] = lambda n: None,
    ) -> list[tuple[str, Completion]]:
        """Return each request's key and completion, in order; UserError if one stays unanswered.

        `on_rows` is called with the number of requests just answered.
        """
        keys = [request_key(self.identity, request, sampling) for request in requests]
        done = self.cache.get(dict.fromkeys(keys))
        missing = {key: i for i, key in enumerate(keys) if key not in done}
        self.cached_requests += len(keys) - len(missing)
        on_rows(len(keys) - len(missing))
        if missing:
            engine = self._open()
            todo = list(missing)
            start = time.perf_counter()
            pending = [requests[missing[key]] for key in todo]
            self.progress.ask(len(pending), sampling.max_new_tokens)
            for i, completion in engine.generate(pending, sampling, self._count_tokens):
                done[todo[i]] = completion
                self.progress.end_row(sampling.max_new_tokens - completion.n_tokens)
                on_rows(1)
                if completion.finish_reason == "refused":
                    # Not cached: the next run may find a server that accepts it.
                    self.refused_requests += 1
                    continue
                self.cache.put(todo[i], completion)
                self.generated_requests += 1
            self.generate_seconds += time.perf_counter() - start
        lost = [key for key in keys if key not in done]
        if lost:
            raise UserError(f"engine {self.job.generation.engine}: {len(lost)} requests unanswered")
        return [(key, done[key]) for key in keys]

    def _open(self) -> Engine:
        if self.engine is None:
            start = time.perf_counter()
            job = self.job
            self.engine = open_replicas(job.model, job.generation, self.keys, self.open)
            self.load_seconds = time.perf_counter() - start
        return self.engine

    def _count_tokens(self, n: int) -> None:
        self.generated_tokens += n
        self.progress.add_tokens(n)
