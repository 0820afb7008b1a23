"""Decontamination: generated text may not repeat the benchmarks that measure it."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from almost_kedro.feedback.ledger import RuleVerdict, make_ledger_rows
from almost_kedro.feedback.overlap import OverlapIndex, tokenize_words
from almost_kedro.feedback.scripts import has_no_spaces, is_word
from almost_kedro.options.rules import Rules
from almost_kedro.rows.evaluation import Overlap
from almost_kedro.rows.feedback import LedgerRow
from almost_kedro.rows.training import Demonstration

TURN = re.compile(r"(?:^|\n\n)(?:Human|Assistant):")
# A run of words as a key; a shorter turn is a key as a whole.
Gram = tuple[str, ...]


def list_benchmark_texts(items: Sequence[Mapping[str, object]]) -> dict[str, str]:
    """Return each benchmark item's dialogue or question, by item_id, without the answers."""
    return {
        str(item["item_id"]): str(item["dialogue" if "dialogue" in item else "question"])
        for item in items
    }


def find_overlaps(
    texts: Mapping[str, str], items: Mapping[str, str], n: int = 8, threshold: float = 0.7
) -> list[Overlap]:
    """List the texts that repeat a benchmark item, by common runs of words or by ROUGE-L.

    Dialogues are compared turn by turn: a question does not hide among the turns around it, and no
    run crosses a turn's end. A turn of fewer than n words is only compared as a whole. The time
    grows with the number of texts, not with the number of items.

    Args:
        texts: Prompts and demonstrations, by id.
        items: From `list_benchmark_texts`.
        n: Length of a run in words.
        threshold: Smallest ROUGE-L F that counts, 0 < threshold <= 1.

    Returns:
        In the texts' order: a row for each item with a common run, then one for the item that is
            most similar by ROUGE-L, if it reaches the threshold.
    """
    turns = [(item_id, turn) for item_id, text in items.items() for turn in split_turns(text)]
    grams: defaultdict[Gram, set[str]] = defaultdict(set)
    index = OverlapIndex(threshold)
    for number, (item_id, turn) in enumerate(turns):
        index.add(str(number), tokenize_words(turn))
        for gram in list_grams(turn, n):
            grams[gram].add(item_id)
    found: list[Overlap] = []
    for text_id, text in texts.items():
        own = split_turns(text)
        found += _find_runs(text_id, own, grams, n)
        found += _find_similar(text_id, own, turns, index)
    return found


def drop_overlapping(
    demonstrations: Sequence[Demonstration], overlaps: Sequence[Overlap], rules: Rules
) -> tuple[list[Demonstration], list[LedgerRow]]:
    """Drop demonstrations whose dialogue or answer repeats a benchmark item.

    The original has no such filter, so both sets agree. The ledger has candidate_ids. In
    `overlaps`, text_id is the candidate that ends the dialogue; other overlaps do no harm.
    """
    # The first overlap of each: the n-gram if there are both.
    found = {row["text_id"]: row for row in reversed(overlaps)}
    kept: list[Demonstration] = []
    ledger: list[LedgerRow] = []
    for row in demonstrations:
        overlap = found.get(row["candidate_id"])
        if overlap is None:
            kept.append(row)
        else:
            detail = f"repeats {overlap['item_id']} ({overlap['kind']}): {overlap['matched']!r}"
            ledger += make_ledger_rows(
                row["candidate_id"], rules, RuleVerdict("contaminated", detail)
            )
    return kept, ledger


def split_turns(text: str) -> list[str]:
    """Split a dialogue into its turns, without their labels; any other text is one turn."""
    return [turn.strip() for turn in TURN.split(text) if turn.strip()]


def list_grams(text: str, n: int) -> list[Gram]:
    """List the runs of n words, lower-cased and without punctuation; all words if fewer.

    Where most words are single characters, as in Chinese, a run has 2 n of them.
    """
    words = tuple(filter(is_word, tokenize_words(text)))
    if 2 * sum(map(has_no_spaces, words)) > len(words):
        n *= 2
    if len(words) < n:
        return [words] if words else []
    return [words[i : i + n] for i in range(len(words) - n + 1)]


def _find_runs(
    text_id: str, turns: Sequence[str], grams: Mapping[Gram, set[str]], n: int
) -> Iterator[Overlap]:
    """Find the longest run of words in common with each item."""
    best: dict[str, Gram] = {}
    for turn in turns:
        running: dict[str, Gram] = {}
        for gram in list_grams(turn, n):
            # If the item also has the run up to the previous word, that run grows by the new word.
            running = {
                item_id: (*running[item_id], gram[-1]) if item_id in running else gram
                for item_id in sorted(grams.get(gram, ()))
            }
            for item_id, run in running.items():
                if len(run) > len(best.get(item_id, ())):
                    best[item_id] = run
    for item_id, run in best.items():
        yield Overlap(
            text_id=text_id,
            item_id=item_id,
            kind="ngram",
            value=float(len(run)),
            matched=" ".join(run),
        )


def _find_similar(
    text_id: str, turns: Sequence[str], items: Sequence[tuple[str, str]], index: OverlapIndex
) -> Iterator[Overlap]:
    """Find the item whose turn is most similar to a turn of the text, from the threshold on."""
    found = [match for turn in turns if (match := index.find(tokenize_words(turn)))]
    if found:
        number, score = max(found, key=lambda match: match[1])
        item_id, turn = items[int(number)]
        yield Overlap(text_id=text_id, item_id=item_id, kind="rouge_l", value=score, matched=turn)
