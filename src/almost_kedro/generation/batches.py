"""Batches of rows of like length, so that little is computed for padding."""

from __future__ import annotations

from collections.abc import Sequence


def split_by_length(lengths: Sequence[int], batch_tokens: int) -> list[list[int]]:
    """Split row numbers into batches of like length, the longest first.

    Args:
        lengths: Tokens of each row.
        batch_tokens: Rows x longest row of a batch at most; a longer row is a batch of its own.
    """
    batches: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lambda row: (-lengths[row], row)):
        if batches and (len(batches[-1]) + 1) * lengths[batches[-1][0]] <= batch_tokens:
            batches[-1].append(row)
        else:
            batches.append([row])
    return batches
