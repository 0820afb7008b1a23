"""Which tokens a forward pass reads, and which tokens each of them sees."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch

# Own tokens come in multiples of this: fewer different shapes, faster kernels.
TILE = 16
Masks = tuple[torch.Tensor | None, torch.Tensor]


def round_up(length: int) -> int:
    """Return the next multiple of `TILE`."""
    return -(-length // TILE) * TILE


@dataclass
class Step:
    """Which tokens a forward pass reads; n rows, m fresh tokens, m + n in all.

    Attributes:
        positions: `(m + n,)` absolute positions.
        lengths: `(n,)` own tokens of each row, the one that is read now included.
        longest: The largest of `lengths`, rounded up to a multiple of `TILE`.
        tokens: `(w,)` which tokens are written; `slots` and `places`, `(w,)`, say where. Rows that
            begin alike share their fresh tokens, which are then written to several slots.
        fresh: `(new, longest fresh)` numbers of fresh tokens by new row, -1 for padding.
        sizes: How many fresh tokens each new row has.
        seen: For each new row `(size, size)`, what its fresh tokens see; None: all up to
            themselves.
        taken: Slots that new rows take, which may hold old data; None if no row is new.
    """

    positions: torch.Tensor
    lengths: torch.Tensor
    longest: int
    tokens: torch.Tensor
    slots: torch.Tensor
    places: torch.Tensor
    fresh: torch.Tensor
    sizes: Sequence[int]
    seen: Sequence[torch.Tensor] | None = None
    taken: slice | None = None
    _masks: dict[int | None, Masks] = field(default_factory=dict)
    _fresh_masks: dict[tuple[int | None, ...], torch.Tensor] = field(default_factory=dict)

    def masks(self, window: int | None, prefix: int, dtype: torch.dtype) -> Masks:
        """Return what each token sees, as 0 or -inf; the same for all layers with one window.

        The first mask is for all tokens' prefix, `(m + n, prefix)`, or None where all is seen. The
        second is for the rows' own tokens, `(n, 1, longest)`.
        """
        if window not in self._masks:
            device = self.positions.device
            index = torch.arange(self.longest, device=device)
            last = self.lengths[:, None] - 1
            own = index > last
            earlier = None
            if window is not None:
                own = own | (index <= last - window)
                if int(self.positions.max()) >= window:
                    seen_from = self.positions[:, None] - window
                    earlier = torch.arange(prefix, device=device) <= seen_from
            self._masks[window] = (
                None if earlier is None else hide(earlier, dtype),
                hide(own, dtype)[:, None],
            )
        return self._masks[window]

    def mask_fresh(
        self, rows: slice, queries: slice, window: int | None, dtype: torch.dtype
    ) -> torch.Tensor:
        """Return which fresh tokens of their rows a part's tokens see, as 0 or -inf.

        Each part has its own mask: one for all would be as large as if every row were as long as
        the longest. No line hides everything, not even padding's. Its softmax would be NaN, and
        some processors' products carry NaN into other rows (AMX, oneDNN 3.12).

        `rows` and `queries` come from `fresh_parts`. `window` is how far back a token sees, itself
        included. The shape is `(rows, queries, queries.stop)`, with 1 for `rows` where they are
        alike.
        """
        key = window, rows.start, rows.stop, queries.start, queries.stop
        if key not in self._fresh_masks:
            if self.seen is None:
                place = torch.arange(queries.stop, device=self.positions.device)[None]
                hidden = place[:, None] > place[:, queries, None]
            else:
                place = self.positions[self.fresh[rows, : queries.stop]]
                hidden = torch.ones(*place[:, queries].shape, queries.stop, dtype=torch.bool)
                for line, seen in zip(hidden, self.seen[rows], strict=True):
                    there = seen[queries, : queries.stop]
                    line[: there.shape[0], : there.shape[1]] = ~there
                hidden = hidden.to(place.device)
            if window is not None:
                hidden = hidden | (place[:, None] <= place[:, queries, None] - window)
            # Every token sees itself, and padding sees the token in its place.
            own = torch.arange(queries.start, queries.stop, device=hidden.device)
            hidden[:, own - queries.start, own] = False
            self._fresh_masks[key] = hide(hidden, dtype)
        return self._fresh_masks[key]

    def fresh_parts(self, most: int, prefix: int) -> Iterator[tuple[slice, slice]]:
        """Yield the fresh tokens in parts: which new rows, and which of their fresh tokens.

        A part has at most `most` scores for each head. Each token is scored with `prefix` further
        tokens and with the fresh ones of its row.
        """
        start = 0
        while start < len(self.sizes):
            # The first row tends to be the longest.
            size = max(1, self.sizes[start])
            some = max(1, most // (prefix + size))
            rows = slice(start, start + max(1, some // size))
            longest = max(self.sizes[rows])
            for first in range(0, longest, some):
                yield rows, slice(first, min(first + some, longest))
            start = rows.stop


def hide(hidden: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Return what is added to scores: -inf where hidden."""
    return torch.zeros(hidden.shape, dtype=dtype, device=hidden.device).masked_fill_(
        hidden, -torch.inf
    )
