"""Teacher forcing: was the first token in which two rows differ decided by rounding alone?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM

from almost_kedro.contract import Request, Sampling
from almost_kedro.generation.sampling import random_stream

# Largest distance, in probability mass, at which a draw counts as decided by rounding.
TOLERANCE = 1e-4


class Referee:
    """Judges differing rows with the model in float64."""

    def __init__(self, folder: Path):
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64).eval()

    def is_near_tie(
        self,
        prompt_ids: list[int],
        a: list[int],
        b: list[int],
        request: Request,
        sampling: Sampling,
    ) -> bool:
        """Tell whether rows `a` and `b` first differ where the draw lies between their tokens."""
        at = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), None)
        if at is None:  # one row goes on where the other was ended, by no token of its own
            return False
        with torch.no_grad():
            logits = self.model(torch.tensor([prompt_ids + a[:at]])).logits[0, -1]
        if sampling.temperature == 0:
            return bool((logits[a[at]] - logits[b[at]]).abs() < TOLERANCE)
        probabilities = torch.softmax(logits / sampling.temperature, dim=-1)
        stream = random_stream(sampling.seed, request.hash(), sampling.max_new_tokens)
        drawn = self._possible_draws(probabilities, stream[at], sampling.top_p)
        return a[at] in drawn and b[at] in drawn

    @staticmethod
    def _possible_draws(
        probabilities: torch.Tensor, uniforms: np.ndarray, top_p: float
    ) -> set[int]:
        """Find what is drawn where every number is off by the tolerance at most."""
        cumulated = probabilities.cumsum(0)
        possible = set()
        for uniform in uniforms[:-1]:
            near = (cumulated > uniform - TOLERANCE) & (
                cumulated - probabilities <= uniform + TOLERANCE
            )
            surely_done = True
            for token in near.nonzero()[:, 0].tolist():
                mass_before = probabilities[probabilities > probabilities[token] + 1e-9].sum()
                if mass_before < top_p + TOLERANCE or top_p >= 1:
                    possible.add(token)
                if mass_before >= top_p - TOLERANCE and top_p < 1:
                    surely_done = False
            if surely_done:
                return possible
        return possible
