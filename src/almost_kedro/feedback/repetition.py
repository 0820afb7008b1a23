"""How much a text repeats itself, which no reward need see.

A small policy that is trained on little tends to write the same sentence again and again, and a
reward model whose chosen answers do so more often than the rejected ones has no reason to object.
"""

from __future__ import annotations

from almost_kedro.feedback.overlap import tokenize_words

# So many words in a row, as in seq-rep-4 (Welleck et al. 2020, arXiv 1908.04319).
RUN = 4


def measure_repetition(text: str) -> float:
    """Return seq-rep-4: the share of runs of four words that stood before in the text; 0 to 1.

    Words and punctuation marks of any script, in lower case, where the paper has a model's tokens.
    A text of fewer than four has no run, and 0.
    """
    words = tokenize_words(text)
    runs = list(zip(*(words[start:] for start in range(RUN)), strict=False))
    return 1 - len(set(runs)) / len(runs) if runs else 0.0
