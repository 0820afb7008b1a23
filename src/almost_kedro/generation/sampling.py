"""Exact temperature and nucleus sampling without sorting the vocabulary."""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from torch import nn

from almost_kedro.errors import UserError

# Random numbers of a token: a token outside the nucleus is drawn again with the next number. The
# last number draws from the sorted nucleus, so that every row gets a token.
DRAWS = 8
# So many probabilities stay in a processor's cache.
PART = 3 * 2**18
# Tokens whose probabilities are summed up first.
BLOCK = 256
# How far a sum of probabilities may be from 1.
ROUNDING = 1e-3


class LogitsError(UserError):
    """Says which row's logits are not finite, counted from 0."""

    def __init__(self, row: int):
        """Remember the row."""
        super().__init__(f"row {row}: the model's logits are no finite numbers")
        self.row = row


def random_stream(seed: int, request_hash: str, length: int) -> np.ndarray:
    """Draw a request's uniform numbers, `(length, DRAWS)` float64 in [0, 1), a line for each token.

    A counter-based generator, keyed by seed and request, gives each request a stream of its own:
    order, batch and resumption change nothing.
    """
    key = hashlib.sha256(f"{seed}:{request_hash}".encode()).digest()[:16]
    generator = np.random.Generator(np.random.Philox(key=int.from_bytes(key, "big")))
    return generator.random((length, DRAWS))


def sample_tokens(
    logits: torch.Tensor, uniforms: torch.Tensor, temperature: float, top_p: float
) -> torch.Tensor:
    """Draw one token a row, and return the ids `(batch,)`; temperature 0 takes the likeliest one.

    The nucleus is the smallest set of most probable tokens whose mass reaches `top_p`; tokens of
    equal probability are in or out together. A token is drawn from the whole vocabulary and kept if
    the mass of all more probable ones is below `top_p`. So nothing has to be sorted.

    Logits are `(batch, vocabulary)`, uniforms `(batch, DRAWS)` in [0, 1). Raises LogitsError if a
    row's logits are not finite.
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
    """Draw for some rows; `first` is the number of their first row among all."""
    if temperature != 1:
        logits = logits.float() / temperature
    probabilities = torch.softmax(logits, dim=-1, dtype=torch.float32)
    # One NaN makes its whole row NaN.
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
    """Refuse rows whose logits are not finite; `of_rows` has one number a row, `(batch,)`."""
    endless = ~of_rows.isfinite()
    if endless.any():
        raise LogitsError(first + int(endless.nonzero()[0]))


def _outside(probabilities: torch.Tensor, tokens: torch.Tensor, top_p: float) -> torch.Tensor:
    """Return the numbers of the rows whose token is outside the nucleus."""
    own = probabilities.gather(-1, tokens[:, None])
    # With more than this, a token is in the nucleus: all others together miss `top_p`.
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

    Weights are `(batch, vocabulary)`, not negative; uniforms are `(batch,)` in [0, 1). Sums of
    blocks come first, so that a row is read only once. The order is that of token ids: rounding
    can't swap two tokens of almost equal probability.
    """
    rows, width = weights.shape
    blocks = nn.functional.pad(weights, (0, -width % BLOCK)).view(rows, -1, BLOCK)
    sums = blocks.sum(dim=-1)
    after = sums.double().cumsum(dim=-1)
    targets = uniforms.to(after) * after[:, -1]
    every = torch.arange(rows, device=weights.device)
    block = _first_beyond(after, targets, sums)
    chosen = blocks[every, block].double()
    # Subtract the mass before the block, with the block's own sum as `after` has it.
    targets = targets - (after[every, block] - sums[every, block])
    return block * BLOCK + _first_beyond(chosen.cumsum(dim=-1), targets, chosen)


def _first_beyond(
    cumulated: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor
) -> torch.Tensor:
    """Return, a row, the first index whose cumulated weight exceeds the target."""
    index = torch.searchsorted(cumulated, targets[:, None], right=True)[:, 0]
    # A target rounded up to the total would fall behind the last index of positive weight.
    last = weights.shape[-1] - 1 - (weights > 0).flip(-1).int().argmax(dim=-1)
    return torch.minimum(index, last)
