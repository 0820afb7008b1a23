"""Attention over a prefix that all rows share, computed and stored once, and each row's own tokens.

A forward pass reads one sequence of tokens, those of all rows one after another, so that nothing is
padded: first what new rows bring, all but their last tokens (`fresh`), then the last token of every
row. One product scores the prefix for all of them; what a row has of its own stands in its slot.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from transformers import AttentionInterface

from almost_kedro.generation.steps import Step

ATTENTION = "shared_prefix"
# Arguments by which some models change their scores; the products here do not know them.
SCORE_CHANGING = ("s_aux", "softcap", "position_bias", "chunk_size", "head_mask")
# Scores of one product at most.
MAX_SCORES = {"cpu": 3 * 2**19, "cuda": 2**27}
KeysAndValues = tuple[torch.Tensor, torch.Tensor]


class Slots:
    """Keys and values: of the prefix, once, and of each row's own tokens, in a slot.

    All slots have room for as many tokens as the longest row has, so that products need no copy of
    them; where rows grow, so do the slots.
    """

    def __init__(self, prefix: Sequence[KeysAndValues], length: int, capacity: int):
        """Make empty slots.

        Args:
            prefix: Keys and values a layer, each `(kv_heads, length, head_size)`.
            length: Tokens in the prefix.
            capacity: Slots.
        """
        self.prefix, self.length, self.capacity, self.room = prefix, length, capacity, 0
        self.layers: dict[int, Layer] = {}
        self.step: Step
        # Whether any layer has asked for a sliding window.
        self.windowed = False

    def begin(self, ids: torch.Tensor, step: Step) -> dict[str, Any]:
        """Make room for a step, and return the arguments with which a model reads its tokens."""
        self.step = step
        if not self.room // 2 < step.longest <= self.room:
            self.room = step.longest
        step.longest = self.room
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
            prefix = self.prefix[number] if self.length else None
            self.layers[number] = Layer(prefix, self.capacity, key)
        self.layers[number].resize(self.room)
        return self.layers[number]

    def move(self, sources: Sequence[int], targets: Sequence[int]) -> None:
        """Copy rows from slots to other slots."""
        if targets:
            for layer in self.layers.values():
                layer.keys[targets] = layer.keys[sources]
                layer.values[targets] = layer.values[sources]


class Layer:
    """One layer's keys and values.

    Attributes:
        prefix: Keys and values of the prefix with zeros behind, `(kv_heads, length + room,
            head_size)`: a product with them leaves room for the own tokens' scores.
        keys: `(capacity, kv_heads, room, head_size)`.
        values: As `keys`.
    """

    def __init__(self, prefix: KeysAndValues | None, capacity: int, like: torch.Tensor):
        """Make slots without room; `like` is `(1, kv_heads, tokens, head_size)`."""
        _, heads, _, size = like.shape
        self.prefix = prefix
        self.keys = like.new_zeros(capacity, heads, 0, size)
        self.values = like.new_zeros(capacity, heads, 0, size)

    def resize(self, room: int) -> None:
        """Give each slot room for so many tokens."""
        more = room - self.keys.shape[2]
        if more:
            self.keys, self.values = (_lengthen(each, more) for each in (self.keys, self.values))
            if self.prefix is not None:
                keys, values = self.prefix
                self.prefix = _lengthen(keys, more), _lengthen(values, more)

    def write(self, step: Step, key: torch.Tensor, value: torch.Tensor) -> None:
        """Put tokens' keys and values, `(tokens, kv_heads, head_size)`, into their slots."""
        for slots, new in ((self.keys, key), (self.values, value)):
            slots.transpose(1, 2)[step.slots, step.places] = new[step.tokens]

    def own(self, slots: torch.Tensor, step: Step) -> torch.Tensor:
        """Return the rows' keys or values as `(rows x kv_heads, room, head_size)`."""
        return slots[: len(step.lengths)].flatten(0, 1)


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
        extra: `sliding_window`, how far back a query sees, itself included; anything else that
            would change the scores is refused.

    Returns:
        `(1, tokens, heads, head_size)` and None.

    Raises:
        NotImplementedError: If the layer wants more than scores and a window.
    """
    unknown = [name for name in SCORE_CHANGING if extra.get(name) is not None]
    if unknown:
        raise NotImplementedError(f"attention with {', '.join(unknown)}")
    window = extra.get("sliding_window")
    assert window is None or isinstance(window, int)
    slots.windowed |= window is not None
    step, n = slots.step, len(slots.step.lengths)
    layer = slots.layer(int(module.layer_idx), key)  # type: ignore[arg-type]
    heads, tokens, size = query.shape[1:]
    kv_heads, length = key.shape[1], slots.length
    group = heads // kv_heads
    fresh = tokens - n
    earlier, own_mask, fresh_mask = step.masks(window, length, query.dtype)
    key, value = key[0].transpose(0, 1), value[0].transpose(0, 1)
    layer.write(step, key, value)
    query = (query[0] * scaling).transpose(0, 1).view(tokens, kv_heads, group, size)

    # Own tokens' scores and then weights: (kv_heads, tokens, group, own tokens).
    own = query.new_full((kv_heads, tokens, group, step.longest), -torch.inf)
    own_keys = layer.own(layer.keys, step).transpose(1, 2)
    last = torch.bmm(query[fresh:].reshape(n * kv_heads, group, size), own_keys)
    own[:, fresh:] = (last.view(n, kv_heads, group, step.longest) + own_mask).transpose(0, 1)
    if step.fresh is not None:
        assert fresh_mask is not None
        new, most = step.fresh.shape
        there = step.fresh >= 0
        fresh_query = query[step.fresh].transpose(1, 2).reshape(new * kv_heads, most * group, size)
        fresh_key = key[step.fresh].transpose(1, 2).reshape(new * kv_heads, most, size)
        scores = torch.bmm(fresh_query, fresh_key.transpose(1, 2))
        scores = scores.view(new, kv_heads, most, group, most) + fresh_mask
        own[:, :fresh, :, :most] = scores.transpose(1, 2)[there].transpose(0, 1)

    out = _attend_prefix(query, layer, length, own, earlier)
    weights = own[:, fresh:].transpose(0, 1).reshape(n * kv_heads, group, step.longest)
    last = torch.bmm(weights, layer.own(layer.values, step))
    out[:, fresh:] += last.view(n, kv_heads, group, size).transpose(0, 1)
    if step.fresh is not None:
        weights = own.new_zeros(new, most, kv_heads, group, most)
        weights[there] = own[:, :fresh, :, :most].transpose(0, 1)
        weights = weights.transpose(1, 2).reshape(new * kv_heads, most * group, most)
        fresh_value = value[step.fresh].transpose(1, 2).reshape(new * kv_heads, most, size)
        read = torch.bmm(weights, fresh_value).view(new, kv_heads, most, group, size)
        out[:, :fresh] += read.transpose(1, 2)[there].transpose(0, 1)
    return out.transpose(0, 1).reshape(1, tokens, heads, size), None


def _attend_prefix(
    query: torch.Tensor,
    layer: Layer,
    length: int,
    own: torch.Tensor,
    earlier: torch.Tensor | None,
) -> torch.Tensor:
    """Turn scores into weights, and read the prefix by them.

    Args:
        query: `(tokens, kv_heads, group, head_size)`.
        layer: The prefix's keys and values.
        length: Tokens in the prefix.
        own: Scores of own tokens `(kv_heads, tokens, group, longest)`; becomes their weights.
        earlier: What of the prefix each token sees, `(1, tokens, 1, length)`; None for all.

    Returns:
        `(kv_heads, tokens, group, head_size)`.
    """
    tokens, kv_heads, group, size = query.shape
    if layer.prefix is None:
        own.copy_(torch.softmax(own, dim=-1))
        return query.new_zeros(kv_heads, tokens, group, size)
    keys, values = layer.prefix
    # So many tokens that their scores stay in a processor's cache.
    some = max(1, MAX_SCORES[query.device.type] // (kv_heads * group * keys.shape[1]))
    out = query.new_empty(kv_heads, tokens, group, size)
    for start in range(0, tokens, some):
        part = slice(start, start + some)
        flat = query[part].transpose(0, 1).reshape(kv_heads, -1, size)
        # Behind the prefix are zeros: room for the own tokens' scores.
        flat_scores = torch.bmm(flat, keys.transpose(1, 2))
        scores = flat_scores.view(kv_heads, -1, group, keys.shape[1])
        scores[..., length:] = own[:, part]
        if earlier is not None:
            scores[..., :length] += earlier[:, part]
        weights = torch.softmax(flat_scores, dim=-1)
        out[:, part] = torch.bmm(weights, values).view(kv_heads, -1, group, size)
        own[:, part] = weights.view_as(scores)[..., length:]
    return out


AttentionInterface.register(ATTENTION, shared_prefix_attention)
