"""What repeats a benchmark item is found; what only resembles it in passing is not."""

import time

import pytest
from made_rows import make_choice_item, make_demonstration, make_overlap, make_pair_item

from almost_kedro.feedback.decontamination import (
    drop_overlapping,
    find_overlaps,
    list_benchmark_texts,
    list_grams,
    split_turns,
)
from almost_kedro.rows.feedback import Ledger

QUESTION = "Why does the old kettle on my stove whistle so loudly every single morning?"
WORDS = "why does the old kettle on my stove whistle so loudly every single morning"
ITEMS = {"own-0001": QUESTION, "own-0002": "Is soup a drink?"}


def kinds(text: str, n: int = 8, threshold: float = 0.7) -> list[tuple[str, str]]:
    found = find_overlaps({"t": text}, ITEMS, n, threshold)
    return [(row["item_id"], row["kind"]) for row in found]


def test_a_copy_is_found_both_ways() -> None:
    assert find_overlaps({"p1": QUESTION}, ITEMS) == [
        {
            "text_id": "p1",
            "item_id": "own-0001",
            "kind": "ngram",
            "value": 14,
            "matched": WORDS,
        },
        {
            "text_id": "p1",
            "item_id": "own-0001",
            "kind": "rouge_l",
            "value": 1.0,
            "matched": QUESTION,
        },
    ]


def test_other_texts_are_not_listed() -> None:
    assert find_overlaps({"p1": "How do I prune a rose?", "p2": ""}, ITEMS) == []
    assert find_overlaps({}, ITEMS) == []
    assert find_overlaps({"p1": QUESTION}, {}) == []


def test_a_run_of_n_words_is_enough_whatever_its_case_and_punctuation() -> None:
    text = "I wonder: THE OLD KETTLE, on my stove... whistle so, and then what do I do with it all?"
    [row] = find_overlaps({"p1": text}, ITEMS)
    assert (row["kind"], row["value"]) == ("ngram", 8)
    assert row["matched"] == "the old kettle on my stove whistle so"


def test_a_run_of_fewer_words_is_not() -> None:
    text = "I wonder: the old kettle on my stove whistle and then what do I do with it all, dear?"
    assert kinds(text) == []
    assert kinds(text, n=7) == [("own-0001", "ngram")]


def test_the_longest_of_several_runs_counts() -> None:
    text = f"{' '.join(WORDS.split()[:8])}. Hm. {' '.join(WORDS.split()[5:])} and so on and on."
    [row, *_] = find_overlaps({"p1": text}, ITEMS)
    assert (row["value"], row["matched"]) == (9, " ".join(WORDS.split()[5:]))


def test_words_that_change_here_and_there_are_found_by_rouge_l() -> None:
    # 14 words and a question mark in each, 12 of them in common: 2 * 12 / 30.
    text = "Why does the big kettle on my stove hiss so loudly each single morning?"
    [row] = find_overlaps({"p1": text}, ITEMS)
    assert (row["item_id"], row["kind"], row["value"]) == ("own-0001", "rouge_l", 0.8)
    assert row["matched"] == QUESTION
    assert kinds(text, threshold=0.81) == []


def test_short_texts_are_compared_as_a_whole() -> None:
    assert kinds("is SOUP a drink") == [("own-0002", "ngram"), ("own-0002", "rouge_l")]
    assert kinds("Is soup a drink or a meal to you and yours?") == []
    assert list_grams("Is soup a drink?", 8) == [("is", "soup", "a", "drink")]
    assert list_grams("?!", 8) == []


def test_as_many_words_as_a_run_are_one_run() -> None:
    assert list_grams("a b c", 3) == [("a", "b", "c")]
    assert list_grams("a b c d", 3) == [("a", "b", "c"), ("b", "c", "d")]


def test_dialogues_are_compared_turn_by_turn() -> None:
    demonstration = f"\n\nHuman: Hello!\n\nAssistant: Hi.\n\nHuman: {QUESTION}\n\nAssistant: Heat."
    found = find_overlaps({"d1": demonstration}, ITEMS)
    assert [(row["kind"], row["value"]) for row in found] == [("ngram", 14), ("rouge_l", 1.0)]
    items = {"hhh-0001": demonstration.removesuffix(" Heat.")}
    assert [row["item_id"] for row in find_overlaps({"p1": QUESTION}, items)] == ["hhh-0001"] * 2


def test_no_run_crosses_the_end_of_a_turn() -> None:
    first, second = " ".join(WORDS.split()[:7]), " ".join(WORDS.split()[7:])
    assert kinds(f"\n\nHuman: {first}\n\nAssistant: {second}", threshold=0.9) == []


def test_turns_are_split_where_a_speaker_begins() -> None:
    dialogue = (
        "\n\nHuman: Is Human: a word?\n\nAssistant: Yes.\n\nIt is.\n\nHuman: Oh\n\nAssistant:"
    )
    assert split_turns(dialogue) == ["Is Human: a word?", "Yes.\n\nIt is.", "Oh"]
    assert split_turns("Why?") == ["Why?"]


def test_each_item_with_a_common_run_is_listed_once() -> None:
    items = {"b": QUESTION, "a": QUESTION + " Tell me now.", "c": "Is soup a drink?"}
    found = find_overlaps({"p1": f"{QUESTION} {QUESTION}"}, items, threshold=1.0)
    assert [(row["item_id"], row["kind"]) for row in found] == [("a", "ngram"), ("b", "ngram")]


def test_benchmark_texts_are_dialogues_and_questions_without_answers() -> None:
    items = [
        make_pair_item("hhh-0001", dialogue="\n\nHuman: Hi\n\nAssistant:"),
        make_choice_item("mc1-0001", question="Why?"),
    ]
    assert list_benchmark_texts(items) == {
        "hhh-0001": "\n\nHuman: Hi\n\nAssistant:",
        "mc1-0001": "Why?",
    }


def test_twenty_thousand_texts_take_seconds() -> None:
    items = {f"i{i}": f"{i} {WORDS} {i + 1} of the number {i * i}" for i in range(400)}
    texts = {
        f"t{i}": f"What is so nice about the word number {i} my friend?" for i in range(20_000)
    }
    start = time.perf_counter()
    assert find_overlaps(texts, items) == []
    assert time.perf_counter() - start < 20


@pytest.mark.parametrize("text", ["¿Por qué?", "為什麼?", "\n\n", "\n\nHuman:", "\x00"])
def test_any_text_can_be_compared(text: str) -> None:
    assert find_overlaps({"p1": text}, ITEMS) == []


def test_demonstrations_that_overlap_are_dropped_and_the_ledger_says_why() -> None:
    rows = [make_demonstration(name) for name in "abc"]
    run = make_overlap("b", "own-0001", "why does the")
    similar = make_overlap("b", "own-0001", "Why?", kind="rouge_l", value=0.8)
    stranger = make_overlap("x", "own-0002", "is soup")
    kept, ledger = drop_overlapping(rows, [run, similar, stranger], "original")
    assert kept == [rows[0], rows[2]]
    Ledger().validate([dict(row) for row in ledger])
    assert ledger == [
        {
            "row_id": "b",
            "rule": "contaminated",
            "detail": "repeats own-0001 (ngram): 'why does the'",
            "original": "contaminated",
            "corrected": "contaminated",
            "parent_ids": [],
        }
    ]


def test_without_overlaps_all_demonstrations_stay() -> None:
    rows = [make_demonstration(name) for name in "abc"]
    assert drop_overlapping(rows, [], "corrected") == (rows, [])
