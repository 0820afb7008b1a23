"""The job file of the likelihood program, and the rows that it reads and writes."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from almost_kedro.contract import ModelFolder, Part, digest

# Raised by hand when the same job leads to other log-probabilities: kept ones are computed again.
VERSION = 3


class AnswerTexts(Part):
    """How training makes token ids of a dialogue and its answer; see `TextEncoder`."""

    separator: str
    max_length: int


class LikelihoodJob(Part):
    """Log-probabilities of continuations; `batch_tokens` are computed at once.

    `rows` is a file of JSON lines, each a `Likelihood`; a relative path starts at the work folder.
    GPUs, as many as `replicas` says (`auto`: all), each have a copy of the model.
    With `answers`, a context is a dialogue and its continuation the answer: their token ids are
    those of training, eos included. Without, no eos is added, and contexts are plain text; or, if
    the model has a `template`, each is one message of a user that is to be answered.
    """

    model: ModelFolder
    batch_tokens: int = 4096
    dtype: Literal["auto", "bfloat16", "float32"] = "auto"
    out: Path
    rows: Path = Path("rows.jsonl")
    answers: AnswerTexts | None = None
    replicas: int | Literal["auto"] = 1

    def identity(self, rows_sha256: str) -> str:
        """Return what decides the log-probabilities, to the last digit."""
        model = self.model
        texts = [model.template] if model.template else []
        if self.answers:
            texts += [self.answers.separator, str(self.answers.max_length)]
        return digest(
            VERSION,
            model.fingerprint,
            model.bos,
            rows_sha256,
            self.batch_tokens,
            self.dtype,
            *texts,
        )
