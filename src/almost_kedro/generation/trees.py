"""Texts that begin alike, as trees of tokens: what they have in common is read once.

Two orders of one question, the answers to one dialogue and the choices after one question differ
only in their ends. A tree has each shared token once. A token sees the tokens on its path from the
root, at the positions that they have in each text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# Fewer shared tokens, or fewer texts, are not worth a pass of their own.
SHARED_TOKENS, SHARING_TEXTS = 16, 4
# Most tokens of a tree of several texts: every token is scored with every other.
LARGEST = 1024
Text = list[int]


@dataclass(frozen=True)
class Batch:
    """Texts that one forward pass reads.

    Attributes:
        trees: Numbers of texts; in a tree, neighbours begin alike.
        shared: Token ids that all texts begin with, computed before; the same in many batches.
    """

    trees: list[list[int]]
    shared: tuple[int, ...] = ()

    @property
    def numbers(self) -> list[int]:
        """Numbers of all texts."""
        return [number for tree in self.trees for number in tree]


def make_batches(
    texts: Sequence[Text], n_last: Sequence[int], width: int, tokens: int, positions: int
) -> list[Batch]:
    """Put texts into batches, the largest trees first.

    Args:
        n_last: How many of a text's last positions are asked about, by text.
        width: Size of the model's hidden state; see `join_texts`.
        tokens: Most tokens of a batch; a larger tree is alone.
        positions: Most positions of a batch that are asked about; a tree with more is alone.
    """
    if not texts:
        return []
    shared = find_shared(texts, n_last)
    trees = join_texts(texts, len(shared), width)
    sizes = [count_tokens([texts[number] for number in tree], len(shared)) for tree in trees]
    batches: list[Batch] = []
    tokens_left = positions_left = 0
    for i in sorted(range(len(trees)), key=lambda i: (-sizes[i], trees[i][0])):
        asked = sum(n_last[number] for number in trees[i])
        if not batches or sizes[i] > tokens_left or asked > positions_left:
            batches.append(Batch([], shared))
            tokens_left, positions_left = tokens, positions
        batches[-1].trees.append(trees[i])
        tokens_left -= sizes[i]
        positions_left -= asked
    return batches


def find_shared(texts: Sequence[Text], n_last: Sequence[int]) -> tuple[int, ...]:
    """Return the ids that all texts share before the positions asked about, if worth a pass."""
    if len(texts) < SHARING_TEXTS:
        return ()
    first, last = min(texts), max(texts)
    rest = (len(text) - n for text, n in zip(texts, n_last, strict=True))
    length = min(count_common(first, last), *rest)
    return tuple(first[:length]) if length >= SHARED_TOKENS else ()


def join_texts(texts: Sequence[Text], start: int, width: int) -> list[list[int]]:
    """Join texts that begin alike into trees, where that costs less than reading them apart.

    In a tree, every token is scored with every other, though it sees only some. A token costs about
    as much in products with a layer's weights (some 12 `width`^2) as in being scored with `width`
    other tokens, in products that are smaller and slower.

    Return the numbers of the texts by tree. The first `start` tokens of each text are read before.
    """
    trees: list[list[int]] = []
    size = 0
    for number in sorted(range(len(texts)), key=lambda number: (texts[number], number)):
        own = len(texts[number]) - start
        if trees:
            shared = count_common(texts[trees[-1][-1]], texts[number]) - start
            joined = size + own - shared
            pays = shared * width >= joined**2 - size**2 - own**2
            if pays and joined <= max(size, LARGEST):
                trees[-1].append(number)
                size = joined
                continue
        trees.append([number])
        size = own
    return trees


def count_tokens(texts: Sequence[Text], start: int) -> int:
    """Count the tokens of a tree without the first `start` of each text."""
    return sum(len(path) - shared for path, shared in follow(texts, start))


def count_batch(batch: Batch, texts: Sequence[Text]) -> int:
    """Count the tokens that a batch reads."""
    return sum(count_tokens([texts[i] for i in tree], len(batch.shared)) for tree in batch.trees)


def follow(texts: Sequence[Text], start: int) -> list[tuple[Text, int]]:
    """Return each text after `start`, and how much of it the text before has in common."""
    before: Text = []
    found = []
    for text in texts:
        own = text[start:]
        found.append((own, count_common(before, own)))
        before = own
    return found


def count_common(a: Sequence[int], b: Sequence[int]) -> int:
    """Count the leading tokens that two texts have in common."""
    pairs = enumerate(zip(a, b, strict=False))
    return next((n for n, (x, y) in pairs if x != y), min(len(a), len(b)))
