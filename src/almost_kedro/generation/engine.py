"""The generation contract: what a request is, what comes back, and what identifies it."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Literal, Protocol

from almost_kedro.errors import UserError

# Without a text: "withheld", a server's content filter kept it back; "refused", a server did not
# take the request.
FinishReason = Literal["eos", "stop", "length", "withheld", "refused"]
EngineName = Literal["embedded", "vllm", "openai"]
# What an engine wrote is kept in the request cache under its version. Raised by hand when the same
# request comes to another text, as after a mend of its numbers: what is kept is then written anew.
# By engine, as the replies of servers may have been paid for.
ENGINE_VERSIONS: Mapping[EngineName, int] = MappingProxyType(
    {"embedded": 1, "vllm": 1, "openai": 1}
)


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn.

    Attributes:
        temperature: Divides the logits; 0 takes the most probable token.
        top_p: Mass of the nucleus, 0 < top_p <= 1.
        max_new_tokens: Upper bound on generated tokens.
        stop: Strings that end a row; the text is cut before the first of them.
        seed: Start of every request's random stream.
    """

    temperature: float
    top_p: float
    max_new_tokens: int
    stop: tuple[str, ...] = ()
    seed: int = 0


@dataclass(frozen=True)
class Request:
    """One text to be continued.

    Attributes:
        text: What follows the prefix.
        prefix: The part shared with other requests (demonstrations); computed once.
        sample: Tells repeated requests of one text apart, so that each draws its own tokens.
    """

    text: str
    prefix: str = ""
    sample: int = 0

    def hash(self) -> str:
        """Hash of the whole text and the sample number; where the prefix ends does not matter."""
        return digest(self.prefix + self.text, self.sample)


@dataclass(frozen=True)
class Completion:
    """What a model wrote: text before any stop string, why it ended, tokens generated."""

    text: str
    finish_reason: FinishReason
    n_tokens: int


class Engine(Protocol):
    """Something that continues texts."""

    def generate(
        self, requests: Sequence[Request], sampling: Sampling, on_tokens: Callable[[int], None]
    ) -> Iterator[tuple[int, Completion]]:
        """Continue every request.

        Args:
            requests: What to continue; requests with one prefix share its computation.
            sampling: How to draw tokens.
            on_tokens: Called with the number of tokens just generated.

        Yields:
            Position in `requests` and its completion, as soon as it is finished.
        """
        ...


def digest(*parts: object) -> str:
    """Return the SHA-256 of the parts' JSON as 64 hexadecimal digits."""
    text = json.dumps(parts, ensure_ascii=True, separators=(",", ":"), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def tell_version(version: int) -> list[str]:
    """Return what a version adds to the parts of an identity.

    The first one adds nothing: what was kept before there were versions goes by it.
    """
    return [f"version {version}"] if version > 1 else []


def request_key(identity: str, request: Request, sampling: Sampling) -> str:
    """Identify a completion by everything that made it.

    Args:
        identity: Model fingerprint, engine and number format.
        request: The request.
        sampling: Its sampling, seed included.
    """
    return digest(identity, request.hash(), asdict(sampling))


def request_seed(request: Request, sampling: Sampling) -> int:
    """Return the seed that engines with a random stream of their own get: 31 bits."""
    return int(digest(sampling.seed, request.hash())[:8], 16) >> 1


def check_engine_installed(engine: EngineName) -> None:
    """Raise if the engine's package is missing.

    Raises:
        UserError: Which extra to install.
    """
    if engine == "vllm" and importlib.util.find_spec("vllm") is None:
        raise UserError(
            "option generation.engine: 'vllm' is not installed here; run `pip install -c "
            "constraints-vllm.txt -e '.[vllm]'` (without a GPU see docs/generation.md), or set "
            "generation.engine: embedded"
        )
