"""Texts of a batch, padded to one length."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn.utils.rnn import pad_sequence


def pad_texts(texts: Sequence[Sequence[int]], pad: int) -> dict[str, torch.Tensor]:
    """Pad token ids on the right; return `input_ids` and `attention_mask`, (texts, length)."""
    rows = [torch.tensor(ids) for ids in texts]
    ones = [torch.ones_like(row) for row in rows]
    return {
        "input_ids": pad_sequence(rows, batch_first=True, padding_value=pad),
        "attention_mask": pad_sequence(ones, batch_first=True),
    }
