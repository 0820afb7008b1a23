"""The two rule sets: the paper's released code, and the same with its bugs mended."""

from __future__ import annotations

from typing import Literal

Rules = Literal["original", "corrected"]
