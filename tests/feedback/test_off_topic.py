"""Answers that change places: by length, within a split, each with what it really is."""

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_rows import make_assistant, make_ledger_row, make_prompt, make_response, make_splits

from almost_kedro.feedback.comparisons import make_comparisons
from almost_kedro.feedback.off_topic import answer_off_topic, exchange
from almost_kedro.options.feedback import ComparisonOptions
from almost_kedro.rows.feedback import Response, Responses

SOURCE = make_assistant("m-A-1shot", demonstrations="A")
OTHER = make_assistant("m-B-1shot", demonstrations="B")
MOVED = make_assistant("m-A-1shot-off-topic", demonstrations="A", off_topic=True)
# Texts, each with the split of its prompt.
ANSWERS = st.lists(st.tuples(st.text(min_size=1), st.sampled_from(["rl", "held_out"])), max_size=9)


def make_answer(prompt_id: str, text: str, **fields: Any) -> Response:
    return make_response(prompt_id, "m-A-1shot", text, **fields)


def test_answers_next_to_each_other_in_length_change_places_within_a_split() -> None:
    lengths = {"p": 9, "q": 1, "r": 8, "s": 2, "t": 3, "u": 3}
    rows = [make_answer(key, "x" * n) for key, n in lengths.items()]
    splits = make_splits({**dict.fromkeys("pqrs", "rl"), "t": "held_out", "u": "reward_model"})
    found = {row["prompt_id"]: len(row["text"]) for row in exchange(rows, "off", splits)}
    # t and u are alone in their splits.
    assert found == {"q": 2, "s": 1, "r": 9, "p": 8}


@given(ANSWERS)
def test_every_text_is_once_right_and_once_off_topic_but_an_odd_longest_one(
    answers: list[tuple[str, str]],
) -> None:
    rows = [make_answer(str(i), text) for i, (text, _) in enumerate(answers)]
    splits = {str(i): split for i, (_, split) in enumerate(answers)}
    found = list(exchange(rows, "off", make_splits(splits)))
    for split in ("rl", "held_out"):
        own = [row for row in rows if splits[row["prompt_id"]] == split]
        moved = [row for row in found if splits[row["prompt_id"]] == split]
        lengths = sorted(len(row["text"]) for row in own)
        assert sorted(len(row["text"]) for row in moved) == lengths[: len(own) // 2 * 2]
        sources = {row["source_id"] for row in moved}
        assert len(sources) == len({row["prompt_id"] for row in moved}) == len(moved)
        assert sources <= {row["response_id"] for row in own}


@given(ANSWERS, st.randoms(use_true_random=False))
def test_an_answer_off_topic_is_named_after_what_made_it(
    answers: list[tuple[str, str]], draw: Random
) -> None:
    rows = [make_answer(str(i), text) for i, (text, _) in enumerate(answers)]
    splits = make_splits({str(i): split for i, (_, split) in enumerate(answers)})
    by_id = {row["response_id"]: row for row in rows}
    found = {row["response_id"]: row for row in exchange(rows, "off", splits)}
    for row in found.values():
        source = by_id[row["source_id"]]
        own = {"response_id", "prompt_id", "assistant", "source_id"}
        assert {key: row[key] for key in row if key not in own} == {
            key: source[key] for key in source if key not in own
        }
        assert row["prompt_id"] != source["prompt_id"]
        assert row["assistant"] == "off"
    assert not found.keys() & by_id.keys()
    shuffled = list(rows)
    draw.shuffle(shuffled)
    assert {row["response_id"]: row for row in exchange(shuffled, "off", splits)} == found


def test_only_usable_answers_of_the_source_change_places() -> None:
    rows = [
        make_answer("p", "one"),
        make_answer("q", "three"),
        make_answer("r", "four", verdict="rule_12_short"),
        make_response("p", "m-B-1shot", "four"),
    ]
    splits = make_splits(dict.fromkeys("pqr", "rl"))
    found, ledger = answer_off_topic([SOURCE, OTHER, MOVED], rows, [], splits)
    assert [(row["prompt_id"], row["text"], row["source_id"]) for row in found] == [
        ("q", "one", "p-m-A-1shot"),
        ("p", "three", "q-m-A-1shot"),
    ]
    assert {row["assistant"] for row in found} == {"m-A-1shot-off-topic"}
    assert ledger == []
    both: list[Response] = [*rows, *found]
    assert Responses().validate(both)  # type: ignore[arg-type]


def test_what_the_other_rule_set_says_of_a_text_goes_with_it() -> None:
    rows = [make_answer("p", "one"), make_answer("q", "three")]
    entries = [make_ledger_row("q-m-A-1shot", original="rule_12_short")]
    splits = make_splits(dict.fromkeys("pq", "rl"))
    found, ledger = answer_off_topic([MOVED, SOURCE], rows, entries, splits)
    (moved,) = [row for row in found if row["text"] == "three"]
    assert ledger == [make_ledger_row(moved["response_id"], original="rule_12_short")]


def test_without_off_topic_assistants_nothing_is_made() -> None:
    assert answer_off_topic([SOURCE], [make_answer("p", "one")], [], []) == ([], [])


@pytest.mark.parametrize("control", ["none", "matched"])
def test_comparisons_with_the_source_have_each_text_on_both_sides(control: str) -> None:
    short = "It is a bird that cannot fly, and swims very well."
    long = "It is a fish that lives in rivers, and swims quite well."
    rows = [make_answer("p", short), make_answer("q", long)]
    moved, _ = answer_off_topic([SOURCE, MOVED], rows, [], make_splits(dict.fromkeys("pq", "rl")))
    found, _ = make_comparisons(
        [make_prompt(key, f"{key}?") for key in "pq"],
        [*rows, *moved],
        [],
        [SOURCE, MOVED],
        ComparisonOptions.model_validate(
            {
                "rubric": [SOURCE["name"], MOVED["name"]],
                "length_control": control,
                "length_tolerance": 0.5,
            }
        ),
        "corrected",
    )
    assert {(row["prompt"], row["chosen"], row["rejected"]) for row in found} == {
        ("p?", short, long),
        ("q?", long, short),
    }
    assert {tuple(row["factors"]) for row in found} == {("topic",)}
