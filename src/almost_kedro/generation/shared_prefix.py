"""Attention over a prefix that all rows share, computed and stored once, and each row's own tokens.

A forward pass reads one sequence of tokens, those of all rows one after another, so that nothing is
padded: first what new rows bring, all but their last tokens (`fresh`), then the last token of every
row. One product scores the prefix for all of them; what a row has of its own stands in its slot.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from transformers import AttentionInterface

from almost_kedro.generation.steps import Step, round_up

ATTENTION = "shared_prefix"
# Arguments by which some models change their scores; the products here do not know them.
SCORE_CHANGING = ("s_aux", "position_bias", "chunk_size", "head_mask")
# Scores of one product at most.
MAX_SCORES = {"cpu": 3 * 2**19, "cuda": 2**27}
KeysAndValues = tuple[torch.Tensor, torch.Tensor]


class Slots:
    """Keys and values: of the prefix, once, and of each row's own tokens, in a slot.

    All slots have room for as many tokens as the longest row has, so that products need no copy of
    them; where rows grow, so do the slots.
    """

    def __init__(self, prefix: Sequence[KeysAndValues], length: int, capacity: int, most: int):
        """Make empty slots.

        Args:
            prefix: Keys and values a layer, each `(kv_heads, length, head_size)`.
            length: Tokens in the prefix.
            capacity: Slots.
            most: Own tokens of a row at most.
        """
        self.prefix, self.length, self.capacity, self.room = prefix, length, capacity, 0
        self.most = round_up(most)
        self.layers: dict[int, Layer] = {}
        # Memory that slots of a size have left: (kv_heads, head_size) -> tensors.
        self.left: defaultdict[tuple[int, int], list[torch.Tensor]] = defaultdict(list)
        self.step: Step
        # Whether any layer has asked for a sliding window.
        self.windowed = False

    def begin(self, ids: torch.Tensor, step: Step) -> dict[str, Any]:
        """Make room for a step, and return the arguments with which a model reads its tokens."""
        self.step = step
        if not self.room // 2 < step.longest <= self.room:
            self.room = step.longest
        step.longest = self.room
        if step.taken is not None:
            # What is hidden has no weight, but 0 times what is no number is none.
            for layer in self.layers.values():
                layer.keys[step.taken] = layer.values[step.taken] = 0
        return {
            "input_ids": ids[None],
            "position_ids": step.positions[None],
            # A mask of four dimensions is passed on as it is; our attention goes by the step.
            "attention_mask": step.positions.new_zeros(1, 1, 1, 1),
            "use_cache": False,
            "slots": self,
        }

    def layer(self, number: int, key: torch.Tensor) -> Layer:
        """Return a layer's keys and values; `key` shows their shape."""
        if number not in self.layers:
            self.layers[number] = Layer(self, number, key)
        self.layers[number].resize(self)
        return self.layers[number]

    def resize(self, old: torch.Tensor) -> torch.Tensor:
        """Return a layer's keys or values, `(capacity, kv_heads, ..., head_size)`, with `room`.

        They move to memory that another layer has left: pages that are new to the process cost more
        than what is written to them.
        """
        capacity, heads, room, size = old.shape
        left = self.left[heads, size]
        memory = left.pop() if left else old.new_empty(capacity, heads, self.most, size)
        shape = capacity, heads, self.room, size
        new = memory.as_strided(shape, (heads * self.room * size, self.room * size, size, 1), 0)
        kept = min(room, self.room)
        new[:, :, :kept] = old[:, :, :kept]
        new[:, :, kept:] = 0  # as in `begin`
        if room:
            left.append(old)
        return new

    def move(self, sources: Sequence[int], targets: Sequence[int]) -> None:
        """Copy rows from slots to other slots."""
        if targets:
            for layer in self.layers.values():
                layer.keys[targets] = layer.keys[sources]
                layer.values[targets] = layer.values[sources]


class Layer:
    """One layer's keys and values.

    Attributes:
        length: Tokens in the prefix.
        prefix: Keys and values of the prefix with zeros behind, `(kv_heads, length + room,
            head_size)`: a product with them leaves room for the scores of own tokens. Or None.
        keys: `(capacity, kv_heads, room, head_size)`.
        values: As `keys`.
    """

    def __init__(self, slots: Slots, number: int, like: torch.Tensor):
        """Make slots without room; `like` is `(1, kv_heads, tokens, head_size)`."""
        _, heads, _, size = like.shape
        self.length = slots.length
        self.prefix = slots.prefix[number] if slots.length else None
        self.keys = like.new_empty(slots.capacity, heads, 0, size)
        self.values = like.new_empty(slots.capacity, heads, 0, size)

    def resize(self, slots: Slots) -> None:
        """Give each slot as much room as `slots` has."""
        more = slots.room - self.keys.shape[2]
        if more:
            self.keys, self.values = slots.resize(self.keys), slots.resize(self.values)
            if self.prefix is not None:
                keys, values = self.prefix
                self.prefix = _lengthen(keys, more), _lengthen(values, more)

    def write(self, step: Step, key: torch.Tensor, value: torch.Tensor) -> None:
        """Put tokens' keys and values, `(tokens, kv_heads, head_size)`, into their slots."""
        for slots, new in ((self.keys, key), (self.values, value)):
            slots.transpose(1, 2)[step.slots, step.places] = new[step.tokens]


def _lengthen(each: torch.Tensor, more: int) -> torch.Tensor:
    """Return keys or values with zeros for `more` tokens behind; with fewer if it is negative."""
    return nn.functional.pad(each, (0, 0, 0, more)).contiguous()


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

    `attention_mask` is not used: the step says who sees what.

    Args:
        module: The attention layer; its `layer_idx` names its keys and values.
        query: `(1, heads, tokens, head_size)`, in the order of the step.
        key: `(1, kv_heads, tokens, head_size)`.
        value: As `key`.
        attention_mask: Ignored.
        scaling: Factor on the scores.
        slots: The prefix, the rows and the step.
        extra: `sliding_window`, how far back a query sees, itself included; `softcap`, what no
            score exceeds; anything else that would change the scores is refused.

    Returns:
        `(1, tokens, heads, head_size)` and None.

    Raises:
        NotImplementedError: If the layer wants more than that.
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
    """Attend to what rows have of their own and to the prefix.

    Args:
        query: `(rows, queries, kv_heads, group, head_size)`, scaled.
        key: `(rows, kv_heads, own, head_size)`.
        value: As `key`.
        mask: `(rows or 1, queries, own)`, added to the scores.
        layer: The prefix.
        prefix_mask: `(rows, queries, length)`, added to the scores; None where all is seen.
        softcap: See `cap`.

    Returns:
        As `query`.
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
    """Turn scores into weights, and read the prefix by them.

    Args:
        query: `(rows, queries, kv_heads, group, head_size)`, scaled.
        own: Scores of own tokens, `(rows, kv_heads, queries, group, own)`.
        own_mask: `(rows or 1, 1, queries, 1, own)`, added to them.
        layer: The prefix.
        mask: `(rows, queries, length)`, added to the prefix's scores; None where all is seen.
        softcap: See `cap`.

    Returns:
        Weights of own tokens, as `own`, and what was read, as `query`.
    """
    assert layer.prefix is not None
    rows, queries, kv_heads, group, size = query.shape
    keys, values = layer.prefix
    length, end = layer.length, layer.length + own.shape[-1]
    flat = query.permute(2, 0, 1, 3, 4).reshape(kv_heads, -1, size)
    # Behind the prefix are zeros: room for the own tokens' scores.
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
