"""The watch over reinforcement learning, on curves that are made up."""

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from almost_kedro.errors import UserError
from almost_kedro.options.training import WatchOptions
from almost_kedro.training.watch import Score, judge_scores

OPTIONS = WatchOptions.model_validate({"patience": 2, "max_kl": 30.0, "max_length_ratio": 2.0})


def make_scores(
    held_out: Sequence[float],
    reward: Sequence[float] | None = None,
    kl: Sequence[float] | None = None,
    length: Sequence[float] | None = None,
    error: float = 0.0,
) -> list[Score]:
    """Scores every 10 steps; rewards rise by 1, KL is 0 and length 100 unless given."""
    n = len(held_out)
    return [
        Score(
            step=10 * i,
            held_out_reward=held_out[i],
            held_out_error=error,
            reward=reward[i] if reward else float(i),
            kl=kl[i] if kl else 0.0,
            length=length[i] if length else 100.0,
        )
        for i in range(n)
    ]


def test_the_untouched_policy_goes_on() -> None:
    assert judge_scores(make_scores([0.5]), OPTIONS) == (False, "", 0)


def test_rising_held_out_rewards_go_on_and_the_newest_is_best() -> None:
    assert judge_scores(make_scores([0.0, 0.5, 1.0]), OPTIONS) == (False, "", 20)


def test_one_score_below_the_best_is_waited_out() -> None:
    assert judge_scores(make_scores([0.0, 1.0, 0.5]), OPTIONS) == (False, "", 10)


def test_two_scores_below_the_best_stop_while_the_reward_rises() -> None:
    stop, reason, best = judge_scores(make_scores([0.0, 1.0, 0.5, 0.9]), OPTIONS)
    assert (stop, best) == (True, 10)
    for part in ("step 30", "1 at step 10", "2 times", "0.9", "from 1 to 3"):
        assert part in reason


def test_a_fall_within_the_noise_is_waited_out() -> None:
    """Errors of 0.3 make one of 0.42 for the difference."""
    assert not judge_scores(make_scores([1.0, 0.5, 0.6], error=0.3), OPTIONS).stop
    assert judge_scores(make_scores([1.0, 0.5, 0.57], error=0.3), OPTIONS).stop


def test_both_rewards_falling_is_no_over_optimisation() -> None:
    scores = make_scores([0.0, 1.0, 0.5, 0.4], reward=[0.0, 1.0, 0.5, 0.9])
    assert judge_scores(scores, OPTIONS) == (False, "", 10)


def test_a_score_that_equals_the_best_is_not_below_it() -> None:
    assert judge_scores(make_scores([0.0, 1.0, 1.0, 0.5]), OPTIONS) == (False, "", 10)


def test_a_policy_that_never_gets_better_ends_at_the_untouched_one() -> None:
    stop, _, best = judge_scores(make_scores([0.5, 0.4, 0.3]), OPTIONS)
    assert (stop, best) == (True, 0)


def test_patience_is_counted_in_scores() -> None:
    patient = OPTIONS.model_copy(update={"patience": 3})
    assert not judge_scores(make_scores([1.0, 0.5, 0.5]), patient).stop
    assert judge_scores(make_scores([1.0, 0.5, 0.5, 0.5]), patient).stop


def test_kl_above_the_limit_stops_and_is_not_the_best() -> None:
    stop, reason, best = judge_scores(make_scores([0.0, 1.0, 2.0], kl=[0, 30.0, 30.5]), OPTIONS)
    assert (stop, best) == (True, 10)
    assert "step 20: KL 30.5 nats an answer; at most 30 (max_kl)" in reason


def test_kl_that_is_not_a_number_stops() -> None:
    stop, reason, best = judge_scores(make_scores([0.0, 1.0], kl=[0, math.nan]), OPTIONS)
    assert (stop, best) == (True, 0)
    assert "KL nan" in reason


def test_answers_of_more_than_twice_the_first_length_stop() -> None:
    scores = make_scores([0.0, 1.0, 2.0], length=[100, 200, 201])
    stop, reason, best = judge_scores(scores, OPTIONS)
    assert (stop, best) == (True, 10)
    assert "step 20: 201 tokens an answer; at most 2 x 100 (max_length_ratio)" in reason


def test_shorter_answers_go_on() -> None:
    assert not judge_scores(make_scores([0.0, 1.0], length=[100, 5]), OPTIONS).stop


@pytest.mark.parametrize("held_out", [[1.0, 1.0], [1.0, 1.0, 1.0]])
def test_of_equal_scores_the_first_is_best(held_out: list[float]) -> None:
    assert judge_scores(make_scores(held_out), OPTIONS) == (False, "", 0)


@given(
    st.lists(
        st.tuples(st.floats(-5, 5), st.floats(-5, 5), st.floats(0, 60), st.floats(1, 500)),
        min_size=1,
        max_size=12,
    )
)
def test_the_best_step_is_within_bounds_and_no_worse_than_the_first(
    points: list[tuple[float, float, float, float]],
) -> None:
    held_out, reward, kl, length = (list(column) for column in zip(*points, strict=True))
    scores = make_scores(held_out, reward, kl, length)
    verdict = judge_scores(scores, OPTIONS)
    best = scores[verdict.best_step // 10]
    assert best["held_out_reward"] >= scores[0]["held_out_reward"]
    assert best is scores[0] or (best["kl"] <= 30 and best["length"] <= 2 * length[0])
    assert verdict.stop == bool(verdict.reason)


@given(
    st.lists(st.floats(-5, 5), min_size=1, max_size=6),
    st.integers(0, 5),
    st.sampled_from(["reward", "held_out_reward", "held_out_error"]),
    st.sampled_from([math.nan, math.inf, -math.inf]),
)
def test_a_reward_that_is_not_finite_is_no_score(
    held_out: list[float], place: int, name: str, value: float
) -> None:
    scores = make_scores(held_out)
    step = scores[place % len(scores)]["step"]
    scores[place % len(scores)][name] = value  # type: ignore[literal-required]
    with pytest.raises(UserError, match=f"^watch, step {step}: {name} is {value}; only finite"):
        judge_scores(scores, OPTIONS)
