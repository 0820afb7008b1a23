"""Answers to other prompts beside comparisons: whose they are, how long, and what they become."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_rows import make_comparison, make_splits

from almost_kedro.errors import UserError
from almost_kedro.feedback.mismatched import (
    NEAREST,
    Answer,
    add_mismatched,
    build_mismatched_answers,
    check_levels,
    draw_mismatched,
    drop_mismatched,
    walk_outward,
)
from almost_kedro.feedback.reward_rows import build_reward_rows
from almost_kedro.options.reward_model import MismatchedOptions
from almost_kedro.rows.feedback import Comparison
from almost_kedro.rows.training import MismatchedPair, MismatchedPairs

ONE, THREE = MismatchedOptions(), MismatchedOptions(per_pair=3)


def compare(number: int, chosen: str, rejected: str = "No.", **fields: Any) -> Comparison:
    return make_comparison(f"c{number}", chosen=chosen, rejected=rejected, **fields)


def draw(
    rows: list[Comparison], options: MismatchedOptions = ONE, seed: int = 0, **splits: str
) -> list[MismatchedPair]:
    """Draw; prompts are in the split rl unless told otherwise."""
    found = {row["prompt_id"]: splits.get(row["comparison_id"], "rl") for row in rows}
    return draw_mismatched(rows, make_splits(found), options, seed)


def test_answers_are_met_by_their_distance_in_length_the_shorter_one_first() -> None:
    answers = [Answer(n, f"a{n}", "p", "x" * n) for n in (1, 4, 6, 9, 30)]
    assert [each.length for each in walk_outward(answers, 5)] == [4, 6, 1, 9, 30]
    assert [each.length for each in walk_outward(answers, 100)] == [30, 9, 6, 4, 1]
    assert list(walk_outward([], 5)) == []


def test_of_two_prompts_each_has_the_others_answer() -> None:
    rows = [compare(1, "Because."), compare(2, "Perhaps so.")]
    first, second = draw(rows)
    assert first == {
        "mismatched_id": first["mismatched_id"],
        "comparison_id": "c1",
        "prompt_id": "p-c1",
        "prompt": "Why?",
        "chosen": "Because.",
        "rejected": "Perhaps so.",
        "chosen_id": "a-c1",
        "rejected_id": "a-c2",
        "rejected_prompt_id": "p-c2",
    }
    assert (second["chosen"], second["rejected"]) == ("Perhaps so.", "Because.")
    assert MismatchedPairs().validate([dict(first), dict(second)])


def test_only_the_nearest_in_length_are_drawn_and_all_of_them_are() -> None:
    rows = [compare(n, "x" * n) for n in range(10, 50)]
    lengths = {len(draw(rows, seed=seed)[20]["rejected"]) for seed in range(100)}
    assert lengths == {26, 27, 28, 29, 31, 32, 33, 34}
    assert len(lengths) == NEAREST


def test_the_draw_depends_on_the_seed_and_on_nothing_else() -> None:
    rows = [compare(n, "x" * n) for n in range(10, 50)]
    one = draw(rows, THREE)
    assert one == draw(rows, THREE)
    assert one != draw(rows, THREE, seed=1)
    backwards = draw(rows[::-1], THREE)
    assert sorted(map(str, one)) == sorted(map(str, backwards))
    more = [*rows, *(compare(n, "x" * n) for n in range(50, 90))]
    assert one == draw(more, THREE, **{f"c{n}": "watch" for n in range(50, 90)})[: len(one)]


@given(st.lists(st.tuples(st.sampled_from("pqrst"), st.sampled_from("uvwxyz"))), st.booleans())
def test_never_the_same_prompt_nor_another_split_nor_an_answer_to_the_prompt_nor_one_twice(
    answers: list[tuple[str, str]], three: bool
) -> None:
    rows = [
        compare(number, text, "u", prompt_id=prompt)
        for number, (prompt, text) in enumerate(answers)
    ]
    splits = {"p": "rl", "q": "rl", "r": "rl", "s": "watch", "t": "watch"}
    try:
        pairs = draw_mismatched(rows, make_splits(splits), THREE if three else ONE, 0)
    except UserError:
        return
    by_id = {row["comparison_id"]: row for row in rows}
    assert len(pairs) == len(rows) * (3 if three else 1)
    assert len({pair["mismatched_id"] for pair in pairs}) == len(pairs)
    for row in rows:
        own = {each["chosen"] for each in rows if each["prompt_id"] == row["prompt_id"]} | {"u"}
        drawn = [p["rejected"] for p in pairs if p["comparison_id"] == row["comparison_id"]]
        assert own.isdisjoint(drawn)
        assert len(set(drawn)) == len(drawn)
    for pair in pairs:
        assert splits[pair["prompt_id"]] == splits[pair["rejected_prompt_id"]]
        assert pair["prompt_id"] != pair["rejected_prompt_id"]
        assert pair["chosen"] == by_id[pair["comparison_id"]]["chosen"]


def test_a_split_with_too_few_prompts_is_one_clear_line() -> None:
    rows = [compare(1, "Because."), compare(2, "Perhaps so."), compare(3, "Well.")]
    with pytest.raises(
        UserError, match=r"mismatched.per_pair: 3 answers .* c1, .* rl has 2; lower"
    ):
        draw(rows, THREE)
    with pytest.raises(UserError, match=r"beside comparison c3, and its split watch has 0"):
        draw(rows, c3="watch")


def test_held_out_prompts_may_have_fewer_since_they_only_test() -> None:
    rows = [compare(1, "Because."), compare(2, "Perhaps so."), compare(3, "Well.")]
    pairs = draw(rows, THREE, c1="held_out", c2="held_out", c3="held_out")
    assert [pair["comparison_id"] for pair in pairs] == ["c1", "c1", "c2", "c2", "c3", "c3"]
    assert draw(rows[:1], c1="held_out") == []


def test_an_answer_that_both_prompts_have_is_not_drawn() -> None:
    rows = [compare(1, "I can't say."), compare(2, "I can't say."), compare(3, "Perhaps not.")]
    assert [pair["rejected"] for pair in draw(rows)[:2]] == ["Perhaps not.", "Perhaps not."]


@pytest.mark.parametrize("rubric", [["A", "A-off-topic", "B"], [["A", "A-off-topic"], "B"]])
def test_a_rubric_that_prefers_off_topic_answers_is_refused(rubric: list[Any]) -> None:
    with pytest.raises(UserError, match=r"mismatched: the rubric puts 'A-off-topic' before others"):
        check_levels(rubric)


def test_a_rubric_that_ends_off_topic_is_taken() -> None:
    check_levels(["A", ["B", "A-off-topic"]])


def test_rows_of_training_have_their_mismatched_answers_and_the_weight() -> None:
    rows = [compare(1, "Because."), compare(2, "Perhaps so.")]
    pairs = draw(rows)
    plain = build_reward_rows(rows, "corrected")
    assert add_mismatched(rows, pairs, ONE, "corrected") == [
        {**plain[0], "mismatched": ["Perhaps so."], "mismatched_weight": 0.5},
        {**plain[1], "mismatched": ["Because."], "mismatched_weight": 0.5},
    ]
    assert add_mismatched(rows, [], None, "corrected") == plain
    # What was trained on the comparisons alone fits what was trained on these.
    assert drop_mismatched(add_mismatched(rows, pairs, ONE, "corrected")) == plain


def test_the_wrong_answers_are_scored_after_the_prompt_that_they_do_not_answer() -> None:
    pair, _ = draw([compare(1, "Because.", prompt="Why not?"), compare(2, "Perhaps so.")])
    assert build_mismatched_answers([pair], "corrected") == [
        {
            "id": pair["mismatched_id"],
            "dialogue": "\n\nHuman: Why not?\n\nAssistant:",
            "answer": "Perhaps so.",
        }
    ]
