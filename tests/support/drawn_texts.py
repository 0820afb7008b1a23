"""Texts of random tokens that begin alike."""

from __future__ import annotations

import torch


def draw_texts(seed: int) -> list[list[int]]:
    """A beginning of all, four questions, and three or four answers to each."""
    generator = torch.Generator().manual_seed(seed)

    def draw(least: int, most: int) -> list[int]:
        n = int(torch.randint(least, most, (1,), generator=generator))
        return [int(i) for i in torch.randint(3, 259, (n,), generator=generator)]

    start = draw(20, 30)
    texts = []
    for n_answers in (3, 4, 3, 3):
        question = start + draw(5, 30)
        texts += [question + draw(2, 15) for _ in range(n_answers)]
    return texts
