"""The job file of the likelihood program, and the rows that it reads and writes."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from almost_kedro.contract import ModelFolder, Part, digest

# Raised by hand when the same job leads to other log-probabilities: kept ones are computed again.
VERSION = 3


class LikelihoodJob(Part):
    """Log-probabilities of continuations; `batch_tokens` are computed at once.

    `rows` is a file of JSON lines, each a `Likelihood`; a relative path starts at the work folder.
    """

    model: ModelFolder
    batch_tokens: int = 4096
    dtype: Literal["auto", "bfloat16", "float32"] = "auto"
    out: Path
    rows: Path = Path("rows.jsonl")

    def identity(self, rows_sha256: str) -> str:
        """Return what decides the log-probabilities, to the last digit."""
        model = self.model
        return digest(
            VERSION, model.fingerprint, model.bos, rows_sha256, self.batch_tokens, self.dtype
        )
