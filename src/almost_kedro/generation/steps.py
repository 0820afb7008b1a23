"""Which tokens a forward pass reads, and what each of them sees."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch

# Own tokens are attended to in multiples of so many: fewer different shapes, faster kernels.
TILE = 16
Masks = tuple[torch.Tensor | None, torch.Tensor, torch.Tensor]


def round_up(length: int) -> int:
    """Return the next multiple of `TILE`."""
    return -(-length // TILE) * TILE


@dataclass
class Step:
    """Which tokens a forward pass reads; n rows, m fresh tokens, m + n in all.

    Attributes:
        positions: `(m + n,)` absolute positions.
        lengths: `(n,)` own tokens of each row, the one that is read now included.
        longest: The largest of them, as a multiple of `TILE`.
        tokens: `(w,)` which tokens are written, `slots` and `places`: `(w,)` where to. Rows that
            begin alike share their fresh tokens, which are then written to several slots.
        fresh: `(new, longest fresh)` numbers of fresh tokens by new row, -1 for padding.
        sizes: How many fresh tokens each new row has.
        seen: `(new, longest fresh, longest fresh)`, which of a row's fresh tokens each of them
            sees; None for all up to itself.
    """

    positions: torch.Tensor
    lengths: torch.Tensor
    longest: int
    tokens: torch.Tensor
    slots: torch.Tensor
    places: torch.Tensor
    fresh: torch.Tensor
    sizes: Sequence[int]
    seen: torch.Tensor | None = None
    _masks: dict[int | None, Masks] = field(default_factory=dict)

    def masks(self, window: int | None, prefix: int, dtype: torch.dtype) -> Masks:
        """Tell what each token sees, 0 or -inf; the same for all layers with one window.

        Returns:
            For all tokens' prefix `(m + n, prefix)`, or None where all is seen; for the rows' own
            tokens `(n, 1, longest)`, and for fresh ones `(new, longest fresh, longest fresh)`.
        """
        if window not in self._masks:
            device = self.positions.device
            index = torch.arange(self.longest, device=device)
            last = self.lengths[:, None] - 1
            own = index > last
            place = index[: self.fresh.shape[1]].expand_as(self.fresh)
            fresh = place[:, None] > place[..., None]
            if self.seen is not None:
                place, fresh = self.positions[self.fresh], ~self.seen
            earlier = None
            if window is not None:
                own = own | (index <= last - window)
                fresh = fresh | (place[:, None] <= place[..., None] - window)
                if int(self.positions.max()) >= window:
                    seen_from = self.positions[:, None] - window
                    earlier = torch.arange(prefix, device=device) <= seen_from
            self._masks[window] = (
                None if earlier is None else hide(earlier, dtype),
                hide(own, dtype)[:, None],
                hide(fresh, dtype),
            )
        return self._masks[window]

    def fresh_parts(self, most: int, prefix: int) -> Iterator[tuple[slice, slice]]:
        """Go through the fresh tokens in parts.

        Args:
            most: Scores of a part at most, for each head; a token is scored with `prefix` and with
                the fresh ones of its row.
            prefix: Further tokens with which each is scored.

        Yields:
            Which new rows, and which of their fresh tokens.
        """
        start = 0
        while start < len(self.sizes):
            # The first of them tends to be the longest.
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
