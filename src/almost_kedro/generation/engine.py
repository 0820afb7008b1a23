"""The generation contract: what a request is, what comes back, and what identifies it."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from types import MappingProxyType
from typing import Literal, Protocol

from almost_kedro.contract import Completion, Request, Sampling, digest
from almost_kedro.errors import UserError

EngineName = Literal["embedded", "vllm", "openai"]
# Part of the key in the request cache. Raised by hand when the same request leads to another text,
# for example after a numerical fix: cached texts are then generated again. One version for each
# engine, as the replies of servers may have been paid for.
ENGINE_VERSIONS: Mapping[EngineName, int] = MappingProxyType(
    {"embedded": 1, "vllm": 1, "openai": 1}
)


class Engine(Protocol):
    """Something that continues texts."""

    def generate(
        self, requests: Sequence[Request], sampling: Sampling, on_tokens: Callable[[int], None]
    ) -> Iterator[tuple[int, Completion]]:
        """Continue every request.

        Args:
            requests: Requests with the same prefix share its computation.
            on_tokens: Called with the number of tokens just generated.

        Yields:
            Position in `requests` and its completion, as soon as it is finished.
        """
        ...


def request_key(identity: str, request: Request, sampling: Sampling) -> str:
    """Identify a completion; `identity` names model fingerprint, engine and number format."""
    return digest(identity, request.hash(), asdict(sampling))


def request_seed(request: Request, sampling: Sampling) -> int:
    """Return a 31-bit seed, for engines that draw from their own random stream."""
    return int(digest(sampling.seed, request.hash())[:8], 16) >> 1


def check_engine_installed(engine: EngineName) -> None:
    """Raise UserError if the engine's package is missing, and name the extra to install."""
    if engine == "vllm" and importlib.util.find_spec("vllm") is None:
        raise UserError(
            "option generation.engine: 'vllm' is not installed here; run `pip install -c "
            "constraints-vllm.txt -e '.[vllm]'` (without a GPU see docs/generation.md), or set "
            "generation.engine: embedded"
        )
