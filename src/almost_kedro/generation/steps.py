"""Which tokens a forward pass reads, and what each of them sees."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

# Own tokens are attended to in multiples of so many: fewer different shapes, faster kernels.
TILE = 16
Masks = tuple[torch.Tensor | None, torch.Tensor, torch.Tensor | None]


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
        fresh: `(new, longest fresh)` numbers of fresh tokens by new row, -1 for padding; or None.
        seen: `(new, longest fresh, longest fresh)`, which of a row's fresh tokens each of them
            sees; None for all up to itself.
    """

    positions: torch.Tensor
    lengths: torch.Tensor
    longest: int
    tokens: torch.Tensor
    slots: torch.Tensor
    places: torch.Tensor
    fresh: torch.Tensor | None
    seen: torch.Tensor | None = None
    _masks: dict[int | None, Masks] = field(default_factory=dict)

    def masks(self, window: int | None, prefix: int, dtype: torch.dtype) -> Masks:
        """Tell what each token sees, 0 or -inf; the same for all layers with one window.

        Returns:
            For all tokens' prefix `(1, m + n, 1, prefix)`, for the rows' own tokens
            `(n, 1, 1, longest)`, and for fresh ones `(new, 1, longest fresh, 1, longest fresh)`,
            or once for all new rows; None where all is seen or nothing is there.
        """
        if window not in self._masks:
            device = self.positions.device
            index = torch.arange(self.longest, device=device)
            last = self.lengths[:, None] - 1
            own = index > last
            earlier = fresh = None
            if self.fresh is not None:
                place = index[None, : self.fresh.shape[1]]
                fresh = place[:, None] > place[..., None]
                if self.seen is not None:
                    place, fresh = self.positions[self.fresh], ~self.seen
            if window is not None:
                own = own | (index <= last - window)
                if fresh is not None:
                    fresh = fresh | (place[:, None] <= place[..., None] - window)
                if int(self.positions.max()) >= window:
                    seen_from = self.positions[:, None] - window
                    earlier = torch.arange(prefix, device=device) <= seen_from
            self._masks[window] = (
                None if earlier is None else hide(earlier, dtype)[None, :, None],
                hide(own, dtype)[:, None, None],
                None if fresh is None else hide(fresh, dtype)[:, None, :, None],
            )
        return self._masks[window]


def hide(hidden: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Return what is added to scores: -inf where hidden."""
    return torch.zeros(hidden.shape, dtype=dtype, device=hidden.device).masked_fill_(
        hidden, -torch.inf
    )
