"""What two policies answered to the same questions."""

from typing import Any

import pytest
from made_rows import make_open_answer, make_policy_answer, make_question

from almost_kedro.errors import UserError
from almost_kedro.evaluation.answer_pairs import (
    check_same_models,
    pair_open_answers,
    pair_test_answers,
    read_verdicts,
)
from almost_kedro.evaluation.judge import make_vote

MODELS = ("sft", "base")


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
