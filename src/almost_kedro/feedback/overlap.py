"""Near-duplicates by exact ROUGE-L F, found without comparing everything with everything."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
from rapidfuzz.distance import LCSseq

Tokenize = Callable[[str], list[str]]


def tokenize_words(text: str) -> list[str]:
    """Split into lower-cased words and punctuation marks (rule 6, corrected)."""
    return re.findall(r"\w+|[^\w\s]", text.lower())


def rouge_l(a: Sequence[str], b: Sequence[str]) -> float:
    """Return ROUGE-L F of two token sequences: 2 LCS / (len(a) + len(b)), 0 if one is empty.

    Source: Lin (2004), with equal weight on precision and recall.
    """
    if not a or not b:
        return 0.0
    return 2 * LCSseq.similarity(a, b) / (len(a) + len(b))


class OverlapIndex:
    """Finds the most similar text at or above a threshold of ROUGE-L F.

    A pair can reach the threshold only if its common tokens, counted with repetition, are at least
    threshold x (m + n) / 2: the longest common subsequence is never longer than that. Postings of
    (token, how many-th occurrence) count the common tokens of a text with all others at once; only
    what passes is compared for real, most promising first.
    """

    def __init__(self, threshold: float):
        """Make an empty index for one threshold, 0 < threshold <= 1."""
        self.threshold = threshold
        self._ids: list[str] = []
        self._tokens: list[list[str]] = []
        self._lengths = np.zeros(1024, dtype=np.int64)
        self._postings: dict[tuple[str, int], list[int]] = {}

    def __len__(self) -> int:
        """Return the number of texts."""
        return len(self._ids)

    def add(self, text_id: str, tokens: list[str]) -> None:
        """Add a text."""
        number = len(self._ids)
        if number == len(self._lengths):
            self._lengths = np.concatenate([self._lengths, np.zeros_like(self._lengths)])
        self._ids.append(text_id)
        self._tokens.append(tokens)
        self._lengths[number] = len(tokens)
        for posting in _occurrences(tokens):
            self._postings.setdefault(posting, []).append(number)

    def find(self, tokens: list[str]) -> tuple[str, float] | None:
        """Return id and ROUGE-L F of the most similar text (the earliest of equals).

        None if no text reaches the threshold.
        """
        common = self._count_common(tokens)
        totals = self._lengths[: len(common)] + len(tokens)
        # One part in 10^9 of slack: rounding must not lose a pair that is exactly at the bound.
        possible = np.nonzero(2 * common >= self.threshold * totals * (1 - 1e-9))[0]
        possible = possible[common[possible] > 0]
        bounds = 2 * common[possible] / totals[possible]
        best, best_score = -1, 0.0
        for i in np.argsort(-bounds, kind="stable"):
            if bounds[i] < best_score:
                break
            number = int(possible[i])
            needed = math.floor(self.threshold * int(totals[number]) / 2)
            lcs = LCSseq.similarity(tokens, self._tokens[number], score_cutoff=needed)
            score = 2 * lcs / int(totals[number])
            if score > best_score or (score == best_score and number < best):
                best, best_score = number, score
        if best < 0 or best_score < self.threshold:
            return None
        return self._ids[best], best_score

    def _count_common(self, tokens: list[str]) -> np.ndarray:
        """Count, a text, the tokens in common with repetition; `(texts,)`."""
        found = [self._postings[p] for p in _occurrences(tokens) if p in self._postings]
        if not found:
            return np.zeros(len(self._ids), dtype=np.int64)
        return np.bincount(np.concatenate(found), minlength=len(self._ids))


def _occurrences(tokens: Sequence[str]) -> list[tuple[str, int]]:
    """Number the repetitions of each token: a b a -> (a, 0) (b, 0) (a, 1)."""
    seen: Counter[str] = Counter()
    numbered = []
    for token in tokens:
        numbered.append((token, seen[token]))
        seen[token] += 1
    return numbered
