"""The judge card, with figures worked out by hand."""

import math

import numpy as np
import pytest
from made_votes import vote, vote_twice
from scipy.optimize import minimize

from almost_kedro.evaluation.floors import RIDGE
from almost_kedro.evaluation.judge import make_vote, votes_from_rewards
from almost_kedro.evaluation.judge_card import control_length, judge_card


def make_answers(lengths: dict[str, tuple[int, int]]) -> dict[str, dict[str, str]]:
    return {
        "sft": {item: "x" * a for item, (a, _) in lengths.items()},
        "base": {item: "x" * b for item, (_, b) in lengths.items()},
    }


# The card


def test_the_card_counts_by_hand() -> None:
    votes = [
        *vote_twice("q1", "9 3", "2 8"),  # win, win
        *vote_twice("q2", "7 5", "6 6"),  # win, tie
        *vote_twice("q3", "4 6", "nothing"),  # loss, invalid
    ]
    answers = make_answers({"q1": (30, 10), "q2": (20, 20), "q3": (10, 30)})
    card = judge_card(votes, answers, seed=0)
    assert (card["model_a"], card["model_b"]) == ("sft", "base")
    assert (card["n_questions"], card["n_votes"], card["n_valid"]) == (3, 6, 5)
    assert card["invalid_rate"]["value"] == pytest.approx(1 / 6)
    assert card["win"]["value"] == pytest.approx(3 / 5)
    assert card["tie"]["value"] == pytest.approx(1 / 5)
    assert card["loss"]["value"] == pytest.approx(1 / 5)
    assert card["win_rate"]["value"] == pytest.approx(3.5 / 5)
    assert (card["score_sum_a"], card["score_sum_b"]) == (9 + 8 + 7 + 6 + 4, 3 + 2 + 5 + 6 + 6)
    # Of q1 and q2, both orders of q2 disagree; first shown wins in q1 and q2, loses twice, one tie.
    assert card["flip_rate"]["value"] == 0.5
    assert card["first_wins"]["value"] == pytest.approx(2.5 / 5)
    assert (card["length_a"], card["length_b"]) == (20, 20)


def test_a_judge_that_prefers_the_first_answer_flips_always_and_decides_nothing() -> None:
    votes = [row for i in range(10) for row in vote_twice(f"q{i}", "9 2", "9 2")]
    card = judge_card(votes, make_answers({f"q{i}": (i, 10 - i) for i in range(10)}), seed=0)
    assert card["flip_rate"] == card["first_wins"] == {"value": 1, "low": 1, "high": 1}
    assert card["win_rate"] == {"value": 0.5, "low": 0.5, "high": 0.5}
    assert card["win"]["value"] == card["loss"]["value"] == 0.5
    assert card["score_sum_a"] == card["score_sum_b"] == 110
    assert card["length_controlled_win_rate"]["value"] == pytest.approx(0.5)


def test_swapping_the_models_swaps_their_figures() -> None:
    reviews = [("9 3", "2 8"), ("7 5", "6 6"), ("4 6", "9 1"), ("3 3", "5 4"), ("8 1", "1 8")]
    lengths = {f"q{i}": (20 + 7 * i % 11, 20) for i in range(5)}
    votes = [row for i, pair in enumerate(reviews) for row in vote_twice(f"q{i}", *pair)]
    swapped = [
        make_vote(
            row["item_id"],
            "base",
            "sft",
            "b_first" if row["order"] == "a_first" else "a_first",
            f"{row['score_first']} {row['score_second']}",
        )
        for row in votes
    ]
    one, other = (judge_card(rows, make_answers(lengths), seed=0) for rows in (votes, swapped))
    assert one["win"] == other["loss"]
    assert one["tie"] == other["tie"]
    assert (one["score_sum_a"], one["length_a"]) == (other["score_sum_b"], other["length_b"])
    assert (one["flip_rate"], one["first_wins"]) == (other["flip_rate"], other["first_wins"])
    for name in ("win_rate", "length_controlled_win_rate"):
        assert one[name]["value"] == pytest.approx(1 - other[name]["value"])
        assert one[name]["low"] == pytest.approx(1 - other[name]["high"])


def test_intervals_are_by_question() -> None:
    # Two questions, whose orders agree: the draws are 1, 1/2 and 0.
    votes = [*vote_twice("q1", "9 1", "1 9"), *vote_twice("q2", "1 9", "9 1")]
    card = judge_card(votes, make_answers({"q1": (1, 2), "q2": (2, 1)}), seed=0)
    assert card["win"] == {"value": 0.5, "low": 0, "high": 1}
    one = judge_card(votes[:2], make_answers({"q1": (1, 2)}), seed=0)
    assert one["win"] == {"value": 1, "low": 1, "high": 1}


def test_the_same_seed_gives_the_same_card() -> None:
    reviews = [("9 3", "2 8"), ("7 5", "6 6"), ("4 6", "9 1"), ("3 3", "5 4")]
    votes = [row for i, pair in enumerate(reviews) for row in vote_twice(f"q{i}", *pair)]
    answers = make_answers({f"q{i}": (10 + i, 20 - 3 * i) for i in range(4)})
    assert judge_card(votes, answers, seed=7) == judge_card(votes, answers, seed=7)


def test_a_judge_that_writes_garbage_alone_has_no_figures_but_the_invalid_rate() -> None:
    votes = [*vote_twice("q1", "I", "am"), *vote_twice("q2", "no", "judge")]
    card = judge_card(votes, make_answers({"q1": (1, 2), "q2": (2, 1)}), seed=0)
    assert card["invalid_rate"] == {"value": 1, "low": 1, "high": 1}
    assert card["n_valid"] == 0
    for name in ("flip_rate", "first_wins", "win", "tie", "loss", "win_rate"):
        assert card[name] is None
    assert card["length_controlled_win_rate"] is None
    assert (card["score_sum_a"], card["score_sum_b"]) == (0, 0)


def test_a_reward_model_has_the_same_card_without_orders() -> None:
    rewards = {"sft": {"q1": 2.0, "q2": 1.0, "q3": 0.0}, "base": {"q1": 0.0, "q2": 0.5, "q3": 1.0}}
    answers = make_answers({"q1": (5, 1), "q2": (1, 5), "q3": (2, 2)})
    card = judge_card(votes_from_rewards("sft", "base", rewards), answers, seed=0)
    assert card["flip_rate"] is card["first_wins"] is None
    assert card["win"]["value"] == pytest.approx(2 / 3)
    assert (card["score_sum_a"], card["score_sum_b"]) == (3.0, 1.5)
    assert card["invalid_rate"]["value"] == 0


def test_votes_that_do_not_belong_together_are_refused() -> None:
    answers = make_answers({"q1": (1, 1)})
    with pytest.raises(ValueError, match="one vote a question and order"):
        judge_card([], answers, seed=0)
    with pytest.raises(ValueError, match="one vote a question and order"):
        judge_card([vote("q1", "a_first", "8 7")] * 2, answers, seed=0)
    other = make_vote("q1", "rl", "base", "b_first", "8 7")
    with pytest.raises(ValueError, match="one vote a question and order"):
        judge_card([vote("q1", "a_first", "8 7"), other], answers, seed=0)


# Length control


def test_a_judge_that_goes_by_length_has_no_opinion_on_answers_of_one_length() -> None:
    # The longer answer always wins, and model a writes it in 15 of 20.
    leads = {f"q{i}": 2 * i + 2 if i < 15 else 7 * (15 - i) - 2 for i in range(20)}
    votes = [
        row
        for item, lead in leads.items()
        for row in vote_twice(item, *(("9 3", "3 9") if lead > 0 else ("3 9", "9 3")))
    ]
    answers = make_answers({item: (100 + lead, 100) for item, lead in leads.items()})
    card = judge_card(votes, answers, seed=0)
    assert card["win_rate"]["value"] == 0.75
    controlled = card["length_controlled_win_rate"]
    assert controlled["low"] < 0.5 < controlled["high"]
    assert controlled["value"] < 0.7


def test_where_length_does_not_matter_it_is_not_controlled_away() -> None:
    # Three of four won at every length, so the rate at equal length is 3/4, but for the ridge.
    leads = {f"q{i}": (10, -10, 20, -20)[i // 4] for i in range(16)}
    votes = [vote(item, "a_first", "3 9" if i % 4 == 0 else "9 3") for i, item in enumerate(leads)]
    found = control_length(votes, leads, seed=0)
    assert found["value"] == pytest.approx(0.75, abs=0.002)
    assert found["low"] < 0.6 < 0.75 < found["high"]


def test_the_fit_is_the_minimum_that_scipy_finds() -> None:
    leads = {"q1": 30, "q2": -10, "q3": 5, "q4": -40, "q5": 0}
    won = np.array([1, 0.5, 0, 0.5, 1])
    reviews = {1: "9 3", 0.5: "5 5", 0: "3 9"}
    votes = [vote(item, "a_first", reviews[y]) for item, y in zip(leads, won, strict=True)]
    lead = np.array(list(leads.values()))
    x = np.tanh(lead / math.sqrt((30**2 + 10**2 + 5**2 + 40**2) / 5))

    def loss(fit: np.ndarray) -> float:
        z = fit[0] + fit[1] * x
        return (np.logaddexp(0, z) - won * z).sum() + RIDGE / 2 * (fit**2).sum()

    intercept = minimize(loss, np.zeros(2), tol=1e-12).x[0]
    found = control_length(votes, leads, seed=0)
    assert found["value"] == pytest.approx(1 / (1 + math.exp(-intercept)), abs=1e-6)


def test_answers_of_one_length_need_no_control() -> None:
    votes = [vote(f"q{i}", "a_first", "9 3" if i < 8 else "3 9") for i in range(10)]
    found = control_length(votes, {f"q{i}": 0 for i in range(10)}, seed=0)
    assert found["value"] == pytest.approx(0.8, abs=0.002)


def test_differences_that_are_all_the_same_show_nothing_about_length() -> None:
    votes = [vote("q1", "a_first", "9 3"), vote("q2", "a_first", "9 3")]
    assert control_length(votes, {"q1": 7, "q2": 7}, seed=0) is None
    assert control_length([], {}, seed=0) is None


@pytest.mark.filterwarnings("error")
def test_a_model_that_always_wins_has_a_rate_near_one() -> None:
    votes = [row for i in range(40) for row in vote_twice(f"q{i}", "9 3", "3 9")]
    found = control_length(votes, {f"q{i}": i - 20 for i in range(40)}, seed=0)
    assert 0.98 < found["low"] <= found["value"] <= found["high"] < 1
