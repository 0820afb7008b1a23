"""Attention over a prefix that all rows of a batch share: computed once, stored once."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import nn
from transformers import AttentionInterface

ATTENTION = "shared_prefix"
# Scores of one product stay below so many numbers (float32: 256 MB).
MAX_SCORES = 64_000_000
# Arguments by which some models change their scores; the product here does not know them.
SCORE_CHANGING = ("s_aux", "softcap", "position_bias", "chunk_size", "head_mask")


@dataclass
class SharedPrefix:
    """What the attention needs to know beyond each row's own keys.

    Attributes:
        layers: Keys and values of the prefix a layer, each `(kv_heads, prefix, head_size)`.
        length: Tokens in the prefix.
        query_positions: `(batch, queries)` absolute positions of this step's tokens.
        key_positions: `(batch, keys)` absolute positions of the rows' own tokens; -1 is padding.
        windowed: Whether any layer has asked for a sliding window.
    """

    layers: list[tuple[torch.Tensor, torch.Tensor]]
    length: int
    query_positions: torch.Tensor = field(default_factory=lambda: torch.empty(0))
    key_positions: torch.Tensor = field(default_factory=lambda: torch.empty(0))
    windowed: bool = False
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
            # A query that is padding would see nothing and become NaN; what it sees never counts.
            own = own | (query < 0)
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
    **extra: object,
) -> tuple[torch.Tensor, None]:
    """Attend to the shared prefix and to each row's own tokens under one softmax.

    `attention_mask` is not used: positions say all.

    Args:
        module: The attention layer; its `layer_idx` names the prefix's keys and values.
        query: `(batch, heads, queries, head_size)`.
        key: `(batch, kv_heads, keys, head_size)`, the rows' own.
        value: As `key`.
        attention_mask: Ignored.
        scaling: Factor on the scores.
        shared: The prefix and the positions.
        extra: `sliding_window`, how far back a query sees, itself included; anything else that
            would change the scores is refused.

    Returns:
        `(batch, queries, heads, head_size)` and None.

    Raises:
        NotImplementedError: If the layer wants more than scores and a window.
    """
    unknown = [name for name in SCORE_CHANGING if extra.get(name) is not None]
    if unknown:
        raise NotImplementedError(f"attention with {', '.join(unknown)}")
    sliding_window = extra.get("sliding_window")
    assert sliding_window is None or isinstance(sliding_window, int)
    shared.windowed |= sliding_window is not None
    batch, heads, queries, size = query.shape
    prefix = shared.layers[int(module.layer_idx)] if shared.length else None  # type: ignore[arg-type]
    masks = shared.masks(sliding_window)
    if queries > 1:
        return _attend_many(query, key, value, prefix, masks, scaling).transpose(1, 2), None
    out = _attend_one(query, key, value, prefix, masks, scaling)
    # (kv_heads, batch, group, 1, size) -> (batch, 1, heads, size)
    return out.permute(1, 3, 0, 2, 4).reshape(batch, queries, heads, size), None


def _attend_many(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    prefix: tuple[torch.Tensor, torch.Tensor] | None,
    masks: tuple[torch.Tensor | None, torch.Tensor],
    scaling: float,
) -> torch.Tensor:
    """Attend for the first step, where each row brings all its tokens: `(batch, heads, ...)`.

    Here the fused kernel is faster, and worth a copy of the prefix for this layer and a few rows.
    """
    batch = query.shape[0]
    length = prefix[0].shape[1] if prefix else 0
    rows = max(1, MAX_SCORES // (query.shape[1] * query.shape[2] * (length + key.shape[2])))
    parts = []
    for i in range(0, batch, rows):
        keys, values, mask = key[i : i + rows], value[i : i + rows], masks[1][0, i : i + rows]
        if prefix:
            keys = torch.cat([prefix[0].expand(len(keys), -1, -1, -1), keys], dim=2)
            values = torch.cat([prefix[1].expand(len(values), -1, -1, -1), values], dim=2)
            if masks[0] is None:
                seen = mask.new_ones(*mask.shape[:-1], length)
            else:
                seen = masks[0][0, i : i + rows]
            mask = torch.cat([seen, mask], dim=-1)
        parts.append(
            nn.functional.scaled_dot_product_attention(
                query[i : i + rows], keys, values, mask, scale=scaling, enable_gqa=True
            )
        )
    return torch.cat(parts)


def _attend_one(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    prefix: tuple[torch.Tensor, torch.Tensor] | None,
    masks: tuple[torch.Tensor | None, torch.Tensor],
    scaling: float,
) -> torch.Tensor:
    """Attend for one token a row; returns `(kv_heads, batch, group, 1, head_size)`.

    The prefix enters as one matrix product for the whole batch.
    """
    batch, heads, queries, size = query.shape
    kv_heads = key.shape[1]
    shape = (kv_heads, batch, heads // kv_heads, queries)
    lowest = torch.finfo(torch.float32).min
    query = (query * scaling).view(batch, kv_heads, -1, queries, size).transpose(0, 1)
    key, value = key.transpose(0, 1), value.transpose(0, 1)

    own = torch.matmul(query, key[:, :, None].transpose(-1, -2)).float()
    own = own.masked_fill(~masks[1], lowest)
    highest = own.amax(dim=-1, keepdim=True)
    if prefix is None:
        own = (own - highest).exp_()
        total = own.sum(dim=-1, keepdim=True)
        return (torch.matmul(own.to(value.dtype), value[:, :, None]) / total).to(value.dtype)

    flat = query.reshape(kv_heads, -1, size)
    shared = torch.bmm(flat, prefix[0].transpose(1, 2)).float().view(*shape, -1)
    if masks[0] is not None:
        shared = shared.masked_fill(~masks[0], lowest)
    highest = torch.maximum(highest, shared.amax(dim=-1, keepdim=True))
    own = (own - highest).exp_()
    shared = shared.sub_(highest).exp_()
    total = own.sum(dim=-1, keepdim=True) + shared.sum(dim=-1, keepdim=True)
    out = torch.bmm(shared.to(value.dtype).view(kv_heads, -1, shared.shape[-1]), prefix[1])
    out = out.view(*shape, size) + torch.matmul(own.to(value.dtype), value[:, :, None])
    return (out / total).to(value.dtype)


AttentionInterface.register(ATTENTION, shared_prefix_attention)
