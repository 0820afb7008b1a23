"""Attention over a prefix that all rows share, computed and stored once, and over own tokens.

A forward pass reads one sequence with the tokens of all rows one after another, so nothing is
padded. First come all tokens of new rows but their last ones (`fresh`), then the last token of
every row. One product scores the prefix for all of them. A row's own tokens are in its slot.
"""

from __future__ import annotations

import torch
from torch import nn
from transformers import AttentionInterface

from almost_kedro.generation.slots import Layer, Slots

ATTENTION = "shared_prefix"
# Arguments by which some models change their scores; the products here don't support them.
SCORE_CHANGING = ("s_aux", "position_bias", "chunk_size", "head_mask")
# Most scores of one product.
MAX_SCORES = {"cpu": 3 * 2**19, "cuda": 2**27}


def shared_prefix_attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    scaling: float,
    slots: Slots,
    **extra: object,
) -> tuple[torch.Tensor, None]:
    """Attend to the shared prefix and to each row's own tokens under one softmax.

    Args:
        module: The attention layer; its `layer_idx` names its keys and values.
        query: `(1, heads, tokens, head_size)`, in the order of the step.
        key, value: `(1, kv_heads, tokens, head_size)`.
        attention_mask: Ignored; the step says which tokens see which.
        extra: `sliding_window`, how far back a query sees, itself included; `softcap`, the upper
            limit of the scores.

    Returns:
        `(1, tokens, heads, head_size)` and None.

    Raises:
        NotImplementedError: If another argument would change the scores.
    """
    unknown = [name for name in SCORE_CHANGING if extra.get(name) is not None]
    if unknown:
        raise NotImplementedError(f"attention with {', '.join(unknown)}")
    window, softcap = extra.get("sliding_window"), extra.get("softcap")
    assert window is None or isinstance(window, int)
    assert softcap is None or isinstance(softcap, float)
    slots.windowed |= window is not None
    step, layer = slots.step, slots.layer(int(module.layer_idx), key)  # type: ignore[arg-type]
    heads, tokens, size = query.shape[1:]
    kv_heads, length = key.shape[1], slots.length
    earlier, own = step.masks(window, length, query.dtype)
    key, value = key[0].transpose(0, 1), value[0].transpose(0, 1)
    layer.write(step, key, value)
    query = (query[0] * scaling).transpose(0, 1).view(tokens, kv_heads, heads // kv_heads, size)
    out = torch.empty_like(query)
    columns, most = length + slots.room, MAX_SCORES[query.device.type] // heads

    rows = len(step.lengths)
    fresh, some = tokens - rows, max(1, most // columns)
    for start in range(0, rows, some):
        part = slice(start, min(start + some, rows))
        last = slice(fresh + part.start, fresh + part.stop)
        out[last] = attend(
            query[last, None],
            layer.keys[part],
            layer.values[part],
            own[part],
            layer,
            None if earlier is None else earlier[last, None],
            softcap,
        )[:, 0]
    for part, queries in step.fresh_parts(most, columns if length else 0):
        seen = step.fresh[part, : queries.stop]
        asking = seen[:, queries]
        found = attend(
            query[asking],
            key[seen].transpose(1, 2),
            value[seen].transpose(1, 2),
            step.mask_fresh(part, queries, window, query.dtype),
            layer,
            None if earlier is None else earlier[asking],
            softcap,
        )
        there = asking >= 0
        out[asking[there]] = found[there]
    return out.view(1, tokens, heads, size), None


def attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor,
    layer: Layer,
    prefix_mask: torch.Tensor | None,
    softcap: float | None,
) -> torch.Tensor:
    """Attend to the rows' own tokens and to the layer's prefix; return as `query`.

    Args:
        query: `(rows, queries, kv_heads, group, head_size)`, scaled.
        key, value: `(rows, kv_heads, own, head_size)`.
        mask: `(rows or 1, queries, own)`, added to the scores.
        prefix_mask: `(rows, queries, length)`, added to the scores; None where all is seen.
    """
    rows, queries, kv_heads, group, size = query.shape
    own = key.shape[2]
    flat = query.transpose(1, 2).reshape(rows * kv_heads, queries * group, size)
    scores = cap(torch.bmm(flat, key.reshape(rows * kv_heads, own, size).transpose(1, 2)), softcap)
    scores, mask = scores.view(rows, kv_heads, queries, group, own), mask[:, None, :, None]
    if layer.prefix is None:
        weights, out = torch.softmax(scores.add_(mask), dim=-1), None
    else:
        weights, out = read_prefix(query, scores, mask, layer, prefix_mask, softcap)
    weights = weights.reshape(rows * kv_heads, queries * group, own)
    read = torch.bmm(weights, value.reshape(rows * kv_heads, own, size))
    read = read.view(rows, kv_heads, queries, group, size).transpose(1, 2)
    return read if out is None else out + read


def read_prefix(
    query: torch.Tensor,
    own: torch.Tensor,
    own_mask: torch.Tensor,
    layer: Layer,
    mask: torch.Tensor | None,
    softcap: float | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Turn scores into weights, and read the layer's prefix with them.

    Args:
        query: `(rows, queries, kv_heads, group, head_size)`, scaled.
        own: Scores of own tokens, `(rows, kv_heads, queries, group, own)`.
        own_mask: `(rows or 1, 1, queries, 1, own)`, added to them.
        mask: `(rows, queries, length)`, added to the prefix's scores; None where all is seen.

    Returns:
        Weights of own tokens, as `own`, and the values read from the prefix, as `query`.
    """
    assert layer.prefix is not None
    rows, queries, kv_heads, group, size = query.shape
    keys, values = layer.prefix
    length, end = layer.length, layer.length + own.shape[-1]
    flat = query.permute(2, 0, 1, 3, 4).reshape(kv_heads, -1, size)
    # The zeros behind the prefix make room for the own tokens' scores.
    flat_scores = cap(torch.bmm(flat, keys.transpose(1, 2)), softcap)
    scores = flat_scores.view(kv_heads, rows, queries, group, -1)
    if mask is not None:
        scores[..., :length] += mask[:, :, None]
    torch.add(own.transpose(0, 1), own_mask.transpose(0, 1), out=scores[..., length:end])
    if end < scores.shape[-1]:
        scores[..., end:] = -torch.inf
    weights = torch.softmax(flat_scores, dim=-1)
    out = torch.bmm(weights, values).view(kv_heads, rows, queries, group, size)
    return weights.view_as(scores)[..., length:end].transpose(0, 1), out.permute(1, 2, 0, 3, 4)


def cap(scores: torch.Tensor, most: float | None) -> torch.Tensor:
    """Bend scores in place, so that none exceeds `most` (Gemma 2); None leaves them."""
    return scores if most is None else scores.div_(most).tanh_().mul_(most)


AttentionInterface.register(ATTENTION, shared_prefix_attention)
