"""Best of n: exact expectations, held against every draw there is, and the summary."""

from collections.abc import Sequence
from itertools import combinations, pairwise
from statistics import mean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_rows import make_candidate

from almost_kedro.evaluation.best_of_n import (
    best_of_n_curve,
    group_turns,
    measure_gain,
    summarise_self_play,
)
from almost_kedro.rows.training import Candidate

Scores = tuple[float | None, float | None]


def make_turn(
    prompt_id: str, scores: Sequence[Scores], turn: int = 1, kept: int | None = None
) -> list[Candidate]:
    """One candidate for each pair of reward and held-out reward; no reward means rejected."""
    return [
        make_candidate(
            f"{prompt_id}-{turn}-{sample}",
            prompt_id=prompt_id,
            turn=turn,
            sample=sample,
            text="x" * (10 * sample + 10),
            verdict="rule_12_short" if reward is None else "ok",
            reward=reward,
            held_out_reward=held_out,
            kept=sample == kept,
        )
        for sample, (reward, held_out) in enumerate(scores)
    ]


# By reward the third is best, by held-out reward the first.
THREE: list[Scores] = [(1.0, 6.0), (2.0, 3.0), (4.0, 0.0)]


def test_curve_of_three_candidates_by_hand() -> None:
    curve = best_of_n_curve(make_turn("p", THREE), 0)
    assert [(row["n"], row["n_groups"]) for row in curve] == [(1, 1), (2, 1), (3, 1)]
    # Of the three pairs, the second is best once and the third twice.
    assert [row["reward"] for row in curve] == pytest.approx([7 / 3, (2 + 2 * 4) / 3, 4.0])
    assert [row["held_out_reward"] for row in curve] == pytest.approx([3.0, 1.0, 0.0])


score = st.integers(-3, 3).map(float)
turns = st.integers(1, 5).flatmap(
    lambda size: st.lists(
        st.lists(st.tuples(score, score), min_size=size, max_size=size), min_size=1, max_size=4
    )
)


@settings(max_examples=50, deadline=None)
@given(turns)
def test_curve_is_the_mean_over_all_draws(groups: list[list[tuple[float, float]]]) -> None:
    rows = [row for i, scores in enumerate(groups) for row in make_turn(f"p{i}", scores)]
    curve = best_of_n_curve(rows, 0)
    assert [row["n"] for row in curve] == list(range(1, len(groups[0]) + 1))
    for row in curve:
        # `max` takes the first of equals, as `keep_best` does.
        best = [
            [max(draw, key=lambda pair: pair[0]) for draw in combinations(scores, row["n"])]
            for scores in groups
        ]
        assert row["reward"] == pytest.approx(mean(mean(r for r, _ in each) for each in best))
        assert row["held_out_reward"] == pytest.approx(
            mean(mean(held for _, held in each) for each in best)
        )
    rewards = [row["reward"] for row in curve]
    assert all(low <= high + 1e-9 for low, high in pairwise(rewards))


def test_turns_that_lost_a_candidate_are_left_out() -> None:
    rows = make_turn("p", THREE) + make_turn("q", [(9.0, 9.0), (None, None), (9.0, 9.0)])
    assert [group.prompt_id for group in group_turns(rows)] == ["p"]
    assert best_of_n_curve(rows, 0)[-1]["reward"] == 4.0


def test_if_every_turn_lost_one_the_largest_remain() -> None:
    rows = (
        make_turn("p", [(1.0, 0.0), (None, None), (3.0, 1.0)])
        + make_turn("q", [(5.0, 2.0), (7.0, 4.0), (None, None)])
        + make_turn("r", [(9.0, 9.0), (None, None), (None, None)])
    )
    curve = best_of_n_curve(rows, 0)
    assert [row["n_groups"] for row in curve] == [2, 2]
    assert [row["reward"] for row in curve] == [4.0, 5.0]
    assert [row["held_out_reward"] for row in curve] == [1.75, 2.5]


def test_two_turns_of_a_dialogue_are_two_groups() -> None:
    rows = make_turn("p", THREE) + make_turn("p", THREE, turn=2)
    assert [group.prompt_id for group in group_turns(rows)] == ["p", "p"]


def test_interval_is_around_the_mean_and_drawn_by_prompt() -> None:
    rows = [row for i in range(10) for row in make_turn(f"p{i}", [(float(i), 1.0), (i + 1.0, 2.0)])]
    for row in best_of_n_curve(rows, 0):
        assert row["reward_low"] < row["reward"] < row["reward_high"]
        assert row["held_out_low"] == row["held_out_reward"] == row["held_out_high"]
    # One prompt has no spread, however many turns.
    turns = [{**row, "prompt_id": "p", "turn": int(row["prompt_id"][1:])} for row in rows]
    for row in best_of_n_curve(turns, 0):
        assert row["n_groups"] == 10
        assert row["reward_low"] == row["reward"] == row["reward_high"]


def test_without_held_out_rewards_there_is_no_curve_and_no_gain() -> None:
    rows = make_turn("p", [(1.0, None), (2.0, None)])
    assert best_of_n_curve(rows, 0) == best_of_n_curve([], 0) == []
    assert measure_gain(rows, 0) is None


def test_gain_is_the_best_candidate_less_the_mean_of_its_turn() -> None:
    rows = make_turn("p", THREE) + make_turn("q", [(0.0, 0.0), (0.0, 3.0), (3.0, 6.0)])
    gain = measure_gain(rows, 0)
    assert gain is not None
    # Rewards: 4 - 7/3 and 3 - 1; held-out: 0 - 3 and 6 - 3.
    assert gain["reward"] == pytest.approx((5 / 3 + 2) / 2)
    assert gain["held_out_reward"] == pytest.approx(0.0)
    assert gain["reward_low"] == pytest.approx(5 / 3)
    assert gain["reward_high"] == pytest.approx(2.0)
    assert (gain["held_out_low"], gain["held_out_high"]) == pytest.approx((-3.0, 3.0))
    assert (gain["n"], gain["n_groups"]) == (3, 2)


def test_summary_counts_and_measures_self_play() -> None:
    rows = (
        make_turn("p", THREE, kept=2)
        + make_turn("p", [(1.0, 0.0), (None, None), (None, None)], turn=2, kept=0)
        + make_turn("q", [(None, None)] * 3)
    )
    summary = summarise_self_play(rows, 0)
    gain = summary.pop("gain")
    assert summary == {
        "n_dialogues": 2,
        "n_candidates": 9,
        "n_usable": 4,
        "n_kept": 2,
        "kept_by_turn": {"1": 1, "2": 1},
        # 30 and 10 characters; 10 and 20.
        "kept_length": 20.0,
        "rejected_length": 15.0,
    }
    assert gain == measure_gain(rows, 0)


def test_summary_of_nothing_has_no_means() -> None:
    summary = summarise_self_play([], 0)
    assert summary["n_dialogues"] == summary["n_kept"] == 0
    assert summary["kept_length"] is summary["rejected_length"] is summary["gain"] is None
