"""Near-duplicates by exact ROUGE-L F, found without comparing every pair."""

from __future__ import annotations

import math
from array import array
from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
from rapidfuzz import process
from rapidfuzz.distance import LCSseq

from almost_kedro.feedback.scripts import split_words

Tokenize = Callable[[str], list[str]]

FIRST_CAPACITY = 1024
# A posting in more than one text of this many is also kept as a row of flags. At about that share,
# adding a whole row costs less than adding to its texts one by one.
RARE = 64
# Relative slack of the filter: rounding must not lose a pair exactly at the threshold.
SLACK = 1 - 1e-9


def tokenize_words(text: str) -> list[str]:
    """Split into lower-cased words and punctuation marks of any script (rule 6, corrected)."""
    return split_words(text.lower())


def rouge_l(a: Sequence[str], b: Sequence[str]) -> float:
    """Return ROUGE-L F (Lin 2004, equal weights): 2 LCS / (len(a) + len(b)), 0 if one is empty."""
    if not a or not b:
        return 0.0
    return 2 * LCSseq.similarity(a, b) / (len(a) + len(b))


class OverlapIndex:
    """Finds the most similar text at or above a threshold of ROUGE-L F.

    The longest common subsequence of texts of m and n tokens is never longer than the number of
    tokens in common, counted with repetition. So a pair needs threshold x (m + n) / 2 tokens in
    common to reach the threshold. Postings of (token, how many-th occurrence) count them for all
    texts at once. Only the few texts that pass are compared, with the result of comparing all.

    The time of a search grows slowly with the number of texts: a posting that many texts have is
    also kept as a row of flags, and the processor adds rows many texts at a time.

    Each token is one character of an internal alphabet, which rapidfuzz reads fastest. There is
    room for 1,114,110 different tokens.
    """

    def __init__(self, threshold: float):
        """Make an empty index; 0 < threshold <= 1."""
        self.threshold = threshold
        self._ids: list[str] = []
        self._texts: list[str] = []
        self._alphabet: dict[str, str] = {}
        self._postings: defaultdict[str, array[int]] = defaultdict(lambda: array("q"))
        self._rows: dict[str, np.ndarray] = {}
        self._halves = np.zeros(FIRST_CAPACITY, dtype=np.uint8)

    def __len__(self) -> int:
        """Return the number of texts."""
        return len(self._ids)

    def add(self, text_id: str, tokens: list[str]) -> None:
        """Add a text; raise ValueError if no character is left for a new token."""
        number = len(self._ids)
        if number == len(self._halves):
            self._grow()
        known = self._alphabet
        characters = [known.setdefault(token, chr(len(known) + 1)) for token in tokens]
        self._ids.append(text_id)
        self._texts.append("".join(characters))
        self._halves[number] = min(math.floor(self.threshold * len(tokens) / 2 * SLACK), 127)
        for posting in _occurrences(characters):
            self._postings[posting].append(number)
            if posting in self._rows:
                self._rows[posting][number] = 1

    def find(self, tokens: list[str]) -> tuple[str, float] | None:
        """Return id and ROUGE-L F of the most similar text from the threshold on, else None.

        The earliest of equals counts.
        """
        if not tokens:
            return None
        # Character 0 stands for tokens that no text has.
        characters = [self._alphabet.get(token, "\0") for token in tokens]
        possible = self._find_possible(characters)
        if not possible:
            return None
        # Whole numbers from rapidfuzz: its own scores with a cutoff lose some pairs exactly at it.
        texts = [self._texts[number] for number in possible]
        common = process.cdist(["".join(characters)], texts, scorer=LCSseq.similarity)[0].tolist()
        totals = [len(tokens) + len(text) for text in texts]
        scores = [2 * lcs / total for lcs, total in zip(common, totals, strict=True)]
        best = max(scores)
        if best < self.threshold:
            return None
        return self._ids[possible[scores.index(best)]], best

    def _find_possible(self, characters: Sequence[str]) -> list[int]:
        """Return, in ascending order, all texts with enough tokens in common (and few others).

        Count and bound take one byte per text. The bound is threshold x n / 2 rounded down and cut
        at 127, plus threshold x m / 2 rounded up. That is never more than the sum rounded up, so no
        text is lost. More than 255 tokens could overflow the count: such a text is compared with
        all.
        """
        if len(characters) > 255:
            return list(range(len(self._ids)))
        common = np.zeros(len(self._ids), dtype=np.uint8)
        rare = []
        for posting in _occurrences(characters):
            if posting in self._rows:
                common += self._rows[posting][: len(common)]
            elif posting in self._postings:
                rare.append(self._postings[posting])
        if rare:
            np.add.at(common, np.frombuffer(b"".join(rare), dtype=np.int64), np.uint8(1))
        needed = np.uint8(math.ceil(self.threshold * len(characters) / 2 * SLACK))
        return np.flatnonzero(common >= self._halves[: len(common)] + needed).tolist()

    def _grow(self) -> None:
        """Double the capacity, and decide anew which postings have rows."""
        capacity = 2 * len(self._halves)
        self._halves = np.concatenate([self._halves, np.zeros_like(self._halves)])
        self._rows = {}
        for posting, numbers in self._postings.items():
            if len(numbers) * RARE > len(self._ids):
                row = np.zeros(capacity, dtype=np.uint8)
                row[np.frombuffer(numbers, dtype=np.int64)] = 1
                self._rows[posting] = row


def _occurrences(characters: Sequence[str]) -> list[str]:
    """Number the repetitions of each token: a b a a -> a b a1 a2."""
    seen: dict[str, int] = {}
    numbered = []
    for character in characters:
        before = seen.get(character, 0)
        seen[character] = before + 1
        numbered.append(f"{character}{before}" if before else character)
    return numbered
