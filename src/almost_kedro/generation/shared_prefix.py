"""Attention over a prefix that all rows of a batch share: computed once, stored once."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import nn
from transformers import AttentionInterface

ATTENTION = "shared_prefix"
# Scores of one product stay below so many numbers (float32: 256 MB).
MAX_SCORES = 64_000_000


@dataclass
class SharedPrefix:
    """What the attention needs to know beyond each row's own keys.

    Attributes:
        layers: Keys and values of the prefix a layer, each `(kv_heads, prefix, head_size)`.
        length: Tokens in the prefix.
        query_positions: `(batch, queries)` absolute positions of this step's tokens.
        key_positions: `(batch, keys)` absolute positions of the rows' own tokens; -1 is padding.
    """

    layers: list[tuple[torch.Tensor, torch.Tensor]]
    length: int
    query_positions: torch.Tensor = field(default_factory=lambda: torch.empty(0))
    key_positions: torch.Tensor = field(default_factory=lambda: torch.empty(0))
    _masks: dict[int | None, tuple[torch.Tensor | None, torch.Tensor]] = field(default_factory=dict)

    def step(self, query_positions: torch.Tensor, key_positions: torch.Tensor) -> None:
        """Move on to the next tokens."""
        self.query_positions, self.key_positions = query_positions, key_positions
        self._masks.clear()

    def masks(self, window: int | None) -> tuple[torch.Tensor | None, torch.Tensor]:
        """Tell which keys each query sees; the same for all layers with one window.

        Returns:
            Prefix mask `(1, batch, 1, queries, prefix)`, None where all is seen, and own mask
            `(1, batch, 1, queries, keys)`; True means seen.
        """
        if window not in self._masks:
            query = self.query_positions[:, :, None]
            key = self.key_positions[:, None, :]
            own = (key >= 0) & (key <= query)
            prefix = None
            if window is not None:
                own = own & (key > query - window)
                prefix = torch.arange(self.length, device=query.device) > query - window
                prefix = prefix[None, :, None]
            self._masks[window] = (prefix, own[None, :, None])
        return self._masks[window]


def shared_prefix_attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    scaling: float,
    shared: SharedPrefix,
    sliding_window: int | None = None,
    **_: object,
) -> tuple[torch.Tensor, None]:
    """Attend to the shared prefix and to each row's own tokens under one softmax.

    The prefix enters as one matrix product for the whole batch. `attention_mask` is not used:
    positions say all.

    Args:
        module: The attention layer; its `layer_idx` names the prefix's keys and values.
        query: `(batch, heads, queries, head_size)`.
        key: `(batch, kv_heads, keys, head_size)`, the rows' own.
        value: As `key`.
        attention_mask: Ignored.
        scaling: Factor on the scores.
        shared: The prefix and the positions.
        sliding_window: How far back a query sees, in tokens, itself included.

    Returns:
        `(batch, queries, heads, head_size)` and None.
    """
    batch, heads, queries, size = query.shape
    prefix = shared.layers[int(module.layer_idx)] if shared.length else None  # type: ignore[arg-type]
    masks = shared.masks(sliding_window)
    scores_per_row = heads * queries * (shared.length + key.shape[2])
    rows = max(1, MAX_SCORES // scores_per_row)
    parts = [
        _attend(
            query[i : i + rows], key[i : i + rows], value[i : i + rows], prefix, masks, i, scaling
        )
        for i in range(0, batch, rows)
    ]
    out = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
    # (kv_heads, batch, group, queries, size) -> (batch, queries, heads, size)
    return out.permute(1, 3, 0, 2, 4).reshape(batch, queries, heads, size), None


def _attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    prefix: tuple[torch.Tensor, torch.Tensor] | None,
    masks: tuple[torch.Tensor | None, torch.Tensor],
    start: int,
    scaling: float,
) -> torch.Tensor:
    """Attend for the rows of the batch from `start` on.

    Returns:
        `(kv_heads, rows, group, queries, head_size)`.
    """
    batch, heads, queries, size = query.shape
    kv_heads = key.shape[1]
    shape = (kv_heads, batch, heads // kv_heads, queries)
    query = (query * scaling).view(batch, kv_heads, -1, queries, size).transpose(0, 1)
    key, value = key.transpose(0, 1), value.transpose(0, 1)

    own = torch.matmul(query, key[:, :, None].transpose(-1, -2)).float()
    own = own.masked_fill(~masks[1][:, start : start + batch], torch.finfo(torch.float32).min)
    highest = own.amax(dim=-1, keepdim=True)
    if prefix is None:
        weights = (own - highest).exp_()
        total = weights.sum(dim=-1, keepdim=True)
        return (torch.matmul(weights.to(value.dtype), value[:, :, None]) / total).to(value.dtype)

    flat = query.reshape(kv_heads, -1, size)
    shared = torch.bmm(flat, prefix[0].transpose(1, 2)).float().view(*shape, -1)
    if masks[0] is not None:
        hidden = ~masks[0][:, start : start + batch]
        shared = shared.masked_fill(hidden, torch.finfo(torch.float32).min)
    highest = torch.maximum(highest, shared.amax(dim=-1, keepdim=True))
    own = (own - highest).exp_()
    shared = shared.sub_(highest).exp_()
    total = own.sum(dim=-1, keepdim=True) + shared.sum(dim=-1, keepdim=True)
    out = torch.bmm(shared.to(value.dtype).view(kv_heads, -1, shared.shape[-1]), prefix[1])
    out = out.view(*shape, size) + torch.matmul(own.to(value.dtype), value[:, :, None])
    return (out / total).to(value.dtype)


AttentionInterface.register(ATTENTION, shared_prefix_attention)
