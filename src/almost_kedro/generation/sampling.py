"""Exact temperature and nucleus sampling without sorting the vocabulary."""

from __future__ import annotations

import hashlib

import numpy as np
import torch

# The nucleus of nearly every row lies within so many tokens; the others take the whole vocabulary.
TOP_CANDIDATES = 1024


def random_stream(seed: int, request_hash: str, length: int) -> np.ndarray:
    """Draw a request's uniform numbers, one a token position.

    A counter-based generator keyed by seed and request gives each request a stream of its own, so
    that order, batch and resumption change nothing.

    Returns:
        `(length,)` float64 in [0, 1).
    """
    key = hashlib.sha256(f"{seed}:{request_hash}".encode()).digest()[:16]
    return np.random.Generator(np.random.Philox(key=int.from_bytes(key, "big"))).random(length)


def sample_tokens(
    logits: torch.Tensor, uniforms: torch.Tensor, temperature: float, top_p: float
) -> torch.Tensor:
    """Draw one token a row by inverting the distribution function at `uniforms`.

    The nucleus is the smallest set of most probable tokens whose mass reaches `top_p`. Its
    distribution function runs in order of token ids, not of probability: two tokens of almost
    equal probability then can't trade places by rounding.

    Args:
        logits: `(batch, vocabulary)`.
        uniforms: `(batch,)` in [0, 1).
        temperature: 0 takes the most probable token.
        top_p: Mass of the nucleus.

    Returns:
        `(batch,)` token ids.
    """
    if temperature == 0:
        return logits.argmax(dim=-1)
    probabilities = torch.softmax(logits.float() / temperature, dim=-1)
    if top_p >= 1:
        return _invert(probabilities, uniforms)
    size = min(TOP_CANDIDATES, probabilities.shape[-1])
    tokens = torch.empty(logits.shape[0], dtype=torch.long, device=logits.device)
    values, ids = probabilities.topk(size, dim=-1)
    enough = values.sum(dim=-1) >= top_p
    if size == probabilities.shape[-1]:
        enough = torch.ones_like(enough)
    tokens[enough] = _sample_nucleus(values[enough], ids[enough], uniforms[enough], top_p)
    if not enough.all():
        values, ids = probabilities[~enough].sort(dim=-1, descending=True)
        tokens[~enough] = _sample_nucleus(values, ids, uniforms[~enough], top_p)
    return tokens


def _sample_nucleus(
    values: torch.Tensor, ids: torch.Tensor, uniforms: torch.Tensor, top_p: float
) -> torch.Tensor:
    """Draw from the nucleus of rows given as descending `(batch, k)` probabilities and ids."""
    if not len(values):
        return ids.new_empty(0)
    mass_before = values.cumsum(dim=-1) - values
    values = torch.where(mass_before < top_p, values, 0)
    width = int((values > 0).sum(dim=-1).max())
    ids, order = ids[:, :width].sort(dim=-1)
    chosen = _invert(values[:, :width].gather(-1, order), uniforms)
    return ids.gather(-1, chosen[:, None])[:, 0]


def _invert(weights: torch.Tensor, uniforms: torch.Tensor) -> torch.Tensor:
    """Return, a row, the first index whose cumulated weight exceeds `uniform x total`."""
    cumulated = weights.double().cumsum(dim=-1)
    targets = uniforms.to(cumulated) * cumulated[:, -1]
    index = torch.searchsorted(cumulated, targets[:, None], right=True)[:, 0]
    # A target that rounds up to the total would fall behind the last token of positive weight.
    last = weights.shape[-1] - 1 - (weights > 0).flip(-1).int().argmax(dim=-1)
    return torch.minimum(index, last)
