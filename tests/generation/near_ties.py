"""Teacher forcing: was the first token in which two rows differ decided by rounding alone?"""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

from almost_kedro.generation.engine import Request, Sampling
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
        return all(
            self._could_draw(probabilities, stream[at], t[at], sampling.top_p) for t in (a, b)
        )

    @staticmethod
    def _could_draw(probabilities: torch.Tensor, uniform: float, token: int, top_p: float) -> bool:
        """Tell whether a token is drawn by an inversion that is off by the tolerance at most."""
        values, order = probabilities.sort(descending=True, stable=True)
        before = values.cumsum(0) - values
        for mass in (top_p - TOLERANCE, top_p, top_p + TOLERANCE):
            nucleus = torch.zeros_like(probabilities)
            kept = order[before < mass]
            nucleus[kept] = probabilities[kept]
            cumulated = nucleus.cumsum(0)
            target = uniform * cumulated[-1]
            low, high = cumulated[token] - nucleus[token], cumulated[token]
            if nucleus[token] > 0 and low - TOLERANCE <= target <= high + TOLERANCE:
                return True
        return False
