"""Keys and values of rows that are continued together, each in a slot."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from almost_kedro.generation.steps import Step, round_up

KeysAndValues = tuple[torch.Tensor, torch.Tensor]


class Slots:
    """Keys and values: of the prefix, once, and of each row's own tokens, in a slot.

    All slots have as much room as the longest row needs, so products need no copy of them. Where
    rows grow, the slots grow.
    """

    def __init__(self, prefix: Sequence[KeysAndValues], length: int, capacity: int, most: int):
        """Make `capacity` empty slots for at most `most` own tokens each.

        `prefix` has keys and values for each layer, each `(kv_heads, length, head_size)`.
        """
        self.prefix, self.length, self.capacity, self.room = prefix, length, capacity, 0
        self.most = round_up(most)
        self.layers: dict[int, Layer] = {}
        # Memory to use again: (kv_heads, head_size) -> tensors.
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
            # Hidden tokens have weight 0, but 0 times NaN or infinity is NaN.
            for layer in self.layers.values():
                layer.keys[step.taken] = layer.values[step.taken] = 0
        return {
            "input_ids": ids[None],
            "position_ids": step.positions[None],
            # transformers leaves a mask of four dimensions as it is; our attention ignores it.
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

        They move to memory that another layer no longer needs: pages that are new to the process
        cost more than writing to them.
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
            head_size)`, or None. In a product, the zeros make room for the scores of own tokens.
        keys, values: `(capacity, kv_heads, room, head_size)`.
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
    """Append zeros for `more` tokens to keys or values; cut tokens off if `more` is negative."""
    return nn.functional.pad(each, (0, 0, 0, more)).contiguous()
