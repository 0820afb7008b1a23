"""Which answers people see, and on which side."""

import pytest

from almost_kedro.errors import UserError
from almost_kedro.evaluation.answer_pairs import AnswerPair
from almost_kedro.evaluation.human_votes import draw_questions, make_vote_page

MODELS = ("sft", "base")


def make_pairs(n: int) -> list[AnswerPair]:
    return [
        AnswerPair("open_answers", f"q{i}", f"Why {i}?", f"a{i}", f"b{i}", f"A {i}", f"B {i}", {})
        for i in range(n)
    ]


def test_questions_are_drawn_by_seed_without_repetition() -> None:
    pairs = make_pairs(20)
    drawn = draw_questions(pairs, 8, seed=1)
    assert draw_questions(pairs, 8, seed=1) == drawn
    assert draw_questions(pairs, 8, seed=2) != drawn
    assert len({pair.item_id for pair in drawn}) == 8
    everything = draw_questions(pairs, None, seed=1)
    assert sorted(everything) == sorted(pairs)
    assert everything != pairs
    with pytest.raises(UserError, match="--questions 21: there are 20 that both answered"):
        draw_questions(pairs, 21, seed=1)


@pytest.mark.parametrize(("n", "seed", "left"), [(20, 0, 10), (7, 0, 4), (7, 1, 3), (1, 1, 0)])
def test_each_policy_is_on_the_left_in_half_of_the_questions(n: int, seed: int, left: int) -> None:
    page, key = make_vote_page(make_pairs(n), MODELS, seed, {}, "")
    sides = [question["a_is"] for question in key["questions"]]
    assert sides.count("left") == left
    shown = [question["left"].startswith("A ") for question in page["questions"]]
    assert shown == [side == "left" for side in sides]


def test_sides_depend_on_the_answers_not_on_the_seed_alone() -> None:
    others = [pair._replace(answer_a=f"other-{pair.answer_a}") for pair in make_pairs(20)]
    sides = [
        [question["a_is"] for question in make_vote_page(each, MODELS, 0, {}, "")[1]["questions"]]
        for each in (make_pairs(20), others)
    ]
    assert sides[0] != sides[1]


def test_a_page_has_no_id_of_the_run_and_its_digest_is_its_own() -> None:
    page, key = make_vote_page(make_pairs(3), MODELS, 0, {"open_answers": "v1"}, "critic")
    assert set(page) == {"page", "questions"}
    for question in page["questions"]:
        assert set(question) == {"vote_id", "question", "left", "right"}
        assert len(question["vote_id"]) == 16
    assert key["page"] == page["page"]
    mirrored = [
        pair._replace(
            answer_a=pair.answer_b, answer_b=pair.answer_a, text_a=pair.text_b, text_b=pair.text_a
        )
        for pair in make_pairs(3)
    ]
    other, _ = make_vote_page(mirrored, ("base", "sft"), 0, {"open_answers": "v1"}, "critic")
    assert other["page"] != page["page"]
