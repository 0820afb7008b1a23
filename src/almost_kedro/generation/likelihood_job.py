"""The job file of the likelihood program, and the rows that it reads and writes."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NotRequired, TypedDict

from almost_kedro.generation.engine import digest
from almost_kedro.generation.job import ModelFolder, Part

# Raised by hand when the same job comes to other log-probabilities: what is kept is then computed
# anew.
VERSION = 3


class Likelihood(TypedDict):
    """A question to a model: how probable is this continuation after this context?

    `prefix` stands before the context. It is for what many rows begin with, demonstrations for
    instance: that is computed once.
    """

    id: str
    context: str
    continuation: str
    prefix: NotRequired[str]


class LogProb(TypedDict):
    """The answer.

    Attributes:
        id: The question's.
        logprob: Sum of the natural logarithms of the continuation's tokens' probabilities.
        n_tokens: Tokens of the continuation.
        cut: Tokens that were cut off the context's left, for want of room.
    """

    id: str
    logprob: float
    n_tokens: int
    cut: int


class LikelihoodJob(Part):
    """Log-probabilities of continuations.

    Attributes:
        model: A causal language model.
        batch_tokens: Tokens computed at once.
        dtype: Numbers that are computed with.
        out: The work folder.
        rows: JSON lines, each a `Likelihood`; a relative path is one in `out`.
    """

    model: ModelFolder
    batch_tokens: int = 4096
    dtype: Literal["auto", "bfloat16", "float32"] = "auto"
    out: Path
    rows: Path = Path("rows.jsonl")

    def identity(self, rows_sha256: str) -> str:
        """Return what decides the log-probabilities, to the last digit.

        Args:
            rows_sha256: Checksum of the file of rows.
        """
        model = self.model
        return digest(
            VERSION, model.fingerprint, model.bos, rows_sha256, self.batch_tokens, self.dtype
        )
