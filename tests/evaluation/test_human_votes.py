"""Which answers people see, and on which side."""

from typing import Any

import pytest
from made_rows import make_open_answer, make_policy_answer, make_question

from almost_kedro.errors import UserError
from almost_kedro.evaluation.human_votes import (
    AnswerPair,
    check_same_models,
    draw_questions,
    make_vote_page,
    pair_open_answers,
    pair_test_answers,
    read_verdicts,
)
from almost_kedro.evaluation.judge import make_vote

MODELS = ("sft", "base")


def make_pairs(n: int) -> list[AnswerPair]:
    return [
        AnswerPair("open_answers", f"q{i}", f"Why {i}?", f"a{i}", f"b{i}", f"A {i}", f"B {i}", {})
        for i in range(n)
    ]


def make_judge_vote(review: str, order: Any, a: str = "x", b: str = "y") -> Any:
    found = make_vote("q", "sft", "base", order, review)
    return {**found, "vote_id": order, "answer_a": a, "answer_b": b}


def test_questions_that_only_one_answered_are_left_out() -> None:
    questions = [make_question(item, f"{item}?") for item in ("q1", "q2", "q3")]
    answers = [
        make_open_answer("base", "q1", "B1"),
        make_open_answer("sft", "q1", "S1"),
        make_open_answer("sft", "q2", "S2"),
        make_open_answer("rl", "q2", "R2"),
    ]
    [pair] = pair_open_answers(MODELS, questions, answers, [])
    assert (pair.item_id, pair.question) == ("q1", "q1?")
    assert (pair.text_a, pair.text_b) == ("S1", "B1")
    assert pair.judges == {}


def test_the_judge_s_two_orders_make_one_verdict() -> None:
    win_and_tie = [make_judge_vote("9 3", "a_first"), make_judge_vote("5 5", "b_first")]
    assert read_verdicts(win_and_tie) == {("x", "y"): 1.0, ("y", "x"): 0.0}
    win_and_loss = [make_judge_vote("9 3", "a_first"), make_judge_vote("9 3", "b_first")]
    assert read_verdicts(win_and_loss) == {("x", "y"): 0.5, ("y", "x"): 0.5}
    loss_and_invalid = [make_judge_vote("2 3", "a_first"), make_judge_vote("?", "b_first")]
    assert read_verdicts(loss_and_invalid) == {("x", "y"): 0.0, ("y", "x"): 1.0}
    assert read_verdicts([make_judge_vote("?", "a_first")]) == {}


def make_answer(policy: str, reward: float, held_out: float = 0.0) -> Any:
    return make_policy_answer(
        f"{policy}-p", prompt_id="p", policy=policy, reward=reward, held_out_reward=held_out
    )


def test_answers_to_test_prompts_come_from_the_dataset_that_has_both() -> None:
    answers = {
        "sft_answers": [make_answer("base", 1.0), make_answer("sft", 9.0)],
        "rl_answers": [make_answer("sft", 2.0), make_answer("rl", 2.0, -1.0)],
    }
    [pair] = pair_test_answers(("rl", "sft"), {"p": "Why?"}, answers)
    assert pair.source == "rl_answers"
    assert pair.judges == {"reward_model": 0.5, "held_out_reward_model": 0.0}
    assert pair_test_answers(("rl", "sft"), {}, answers) == []
    assert pair_test_answers(("rl", "prompted"), {"p": "Why?"}, answers) == []


@pytest.mark.parametrize(
    ("reward_then", "judges"),
    [(2.0, {"reward_model": 1.0, "held_out_reward_model": 0.5}), (2.5, {})],
)
def test_rewards_of_two_datasets_count_if_the_same_models_gave_them(
    reward_then: float, judges: dict[str, float]
) -> None:
    answers = {
        "sft_answers": [make_answer("base", 1.0), make_answer("sft", reward_then)],
        "rl_answers": [make_answer("sft", 2.0), make_answer("rl", 3.0)],
    }
    [pair] = pair_test_answers(("rl", "base"), {"p": "Why?"}, answers)
    assert pair.source == "rl_answers+sft_answers"
    assert pair.judges == judges


def test_answers_of_two_models_of_one_name_are_refused() -> None:
    found = {"open_answers": {"base": "1", "sft": "2", "rl": "3"}, "sft_answers": {"sft": "4"}}
    check_same_models(("rl", "base"), found)
    with pytest.raises(UserError, match="policy sft: its answers in open_answers and sft_answers"):
        check_same_models(("sft", "base"), found)


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
