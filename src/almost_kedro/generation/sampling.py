"""Exact temperature and nucleus sampling without sorting the vocabulary."""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from torch import nn

from almost_kedro.errors import UserError

# Random numbers of a token: a token outside the nucleus is drawn anew, with the next one. The last
# one draws from the sorted nucleus, so that every row is finished.
DRAWS = 8
# Probabilities computed together: they stay in a processor's cache.
PART = 3 * 2**18
# Tokens whose probabilities are summed up first.
BLOCK = 256
# By how much probabilities may miss one in sum.
ROUNDING = 1e-3


class LogitsError(UserError):
    """Says which row's logits are no finite numbers, counted from 0."""

    def __init__(self, row: int):
        """Remember the row."""
        super().__init__(f"row {row}: the model's logits are no finite numbers")
        self.row = row


def random_stream(seed: int, request_hash: str, length: int) -> np.ndarray:
    """Draw a request's uniform numbers.

    A counter-based generator keyed by seed and request gives each request a stream of its own, so
    that order, batch and resumption change nothing.

    Returns:
        `(length, DRAWS)` float64 in [0, 1), a line for each token position.
    """
    key = hashlib.sha256(f"{seed}:{request_hash}".encode()).digest()[:16]
    generator = np.random.Generator(np.random.Philox(key=int.from_bytes(key, "big")))
    return generator.random((length, DRAWS))


def sample_tokens(
    logits: torch.Tensor, uniforms: torch.Tensor, temperature: float, top_p: float
) -> torch.Tensor:
    """Draw one token a row.

    The nucleus is the smallest set of most probable tokens whose mass reaches `top_p`; tokens of
    one probability are in or out together. A token is drawn from the whole vocabulary and kept if
    the mass of all more probable ones is below `top_p`: so nothing has to be sorted.

    Args:
        logits: `(batch, vocabulary)`.
        uniforms: `(batch, DRAWS)` in [0, 1).
        temperature: 0 takes the most probable token.
        top_p: Mass of the nucleus.

    Returns:
        `(batch,)` token ids.

    Raises:
        LogitsError: If a row's logits are no numbers.
    """
    if temperature == 0:
        largest, tokens = logits.max(dim=-1)
        check_numbers(largest)
        return tokens
    size = max(1, PART // logits.shape[-1]) if logits.device.type == "cpu" else len(logits)
    return torch.cat(
        [
            _sample_part(logits[i : i + size], uniforms[i : i + size], temperature, top_p, i)
            for i in range(0, len(logits), size)
        ]
    )


def _sample_part(
    logits: torch.Tensor, uniforms: torch.Tensor, temperature: float, top_p: float, first: int
) -> torch.Tensor:
    """Draw for rows that are looked at together, `first` of all and those after it."""
    if temperature != 1:
        logits = logits.float() / temperature
    probabilities = torch.softmax(logits, dim=-1, dtype=torch.float32)
    # One that is no number leaves none in its row.
    check_numbers(probabilities[:, 0], first)
    tokens = invert(probabilities, uniforms[:, 0])
    if top_p >= 1:
        return tokens
    left = _outside(probabilities, tokens, top_p)
    for draw in range(1, DRAWS - 1):
        if not len(left):
            return tokens
        some = probabilities[left]
        tokens[left] = invert(some, uniforms[left, draw])
        left = left[_outside(some, tokens[left], top_p)]
    if len(left):
        tokens[left] = _invert_nucleus(probabilities[left], uniforms[left, -1], top_p)
    return tokens


def check_numbers(of_rows: torch.Tensor, first: int = 0) -> None:
    """Refuse rows whose logits are no numbers; `of_rows` has one of each, `(batch,)`."""
    endless = ~of_rows.isfinite()
    if endless.any():
        raise LogitsError(first + int(endless.nonzero()[0]))


def _outside(probabilities: torch.Tensor, tokens: torch.Tensor, top_p: float) -> torch.Tensor:
    """Return the numbers of the rows whose token is outside the nucleus."""
    own = probabilities.gather(-1, tokens[:, None])
    # What is more probable than this leaves too little for all others to reach `top_p`.
    unsure = (own[:, 0] < 1 - top_p + ROUNDING).nonzero()[:, 0]
    probabilities, own = probabilities[unsure], own[unsure]
    mass_before = torch.where(probabilities > own, probabilities, 0).sum(dim=-1)
    return unsure[mass_before >= top_p]


def _invert_nucleus(
    probabilities: torch.Tensor, uniforms: torch.Tensor, top_p: float
) -> torch.Tensor:
    """Draw from the nucleus by sorting."""
    values, _ = probabilities.sort(dim=-1, descending=True)
    mass_before = values.cumsum(dim=-1) - values
    smallest = torch.where(mass_before < top_p, values, 1).amin(dim=-1, keepdim=True)
    return invert(torch.where(probabilities >= smallest, probabilities, 0), uniforms)


def invert(weights: torch.Tensor, uniforms: torch.Tensor) -> torch.Tensor:
    """Return, a row, the first index whose cumulated weight exceeds `uniform x total`.

    Blocks are summed up first, so that a row is read once and no more. It runs in order of token
    ids: two tokens of almost equal probability can't trade places by rounding.

    Args:
        weights: `(batch, vocabulary)`, not negative.
        uniforms: `(batch,)` in [0, 1).
    """
    rows, width = weights.shape
    blocks = nn.functional.pad(weights, (0, -width % BLOCK)).view(rows, -1, BLOCK)
    sums = blocks.sum(dim=-1)
    after = sums.double().cumsum(dim=-1)
    targets = uniforms.to(after) * after[:, -1]
    every = torch.arange(rows, device=weights.device)
    block = _first_beyond(after, targets, sums)
    chosen = blocks[every, block].double()
    # What comes before the block, its own sum in the precision of the rest.
    targets = targets - (after[every, block] - sums[every, block])
    return block * BLOCK + _first_beyond(chosen.cumsum(dim=-1), targets, chosen)


def _first_beyond(
    cumulated: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor
) -> torch.Tensor:
    """Return, a row, the first index whose cumulated weight exceeds the target."""
    index = torch.searchsorted(cumulated, targets[:, None], right=True)[:, 0]
    # A target that rounds up to the total would fall behind the last of positive weight.
    last = weights.shape[-1] - 1 - (weights > 0).flip(-1).int().argmax(dim=-1)
    return torch.minimum(index, last)
