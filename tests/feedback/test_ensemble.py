"""Rewards of several models as one, computed by hand."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from almost_kedro.errors import UserError
from almost_kedro.feedback.ensemble import Scale, combine_rewards, measure_scale


def test_a_scale_is_the_mean_and_the_standard_deviation_of_the_population() -> None:
    assert measure_scale("reward_model", [1.0, 3.0]) == Scale(2.0, 1.0)


def test_two_members_on_two_answers() -> None:
    """z of the first answer: 1 and 3, of the second 0 and 0; the mean of the stds is 3."""
    scales = [Scale(mean=1.0, std=2.0), Scale(mean=-8.0, std=4.0)]
    first, second = combine_rewards([[3.0, 1.0], [4.0, -8.0]], scales, penalty=0.5)
    assert first == (3 * (2 - 0.5 * 1), 3 * 1)
    assert second == (0, 0)


def test_without_a_penalty_it_is_the_mean() -> None:
    same = [Scale(0.0, 1.0)] * 3
    [found] = combine_rewards([[1.0], [2.0], [6.0]], same, penalty=0)
    assert found.reward == 3
    assert found.spread == pytest.approx(math.sqrt(14 / 3))


def test_of_two_answers_with_one_mean_the_one_that_members_agree_on_is_better() -> None:
    same = [Scale(0.0, 1.0)] * 2
    agreed, disputed = combine_rewards([[1.0, -2.0], [1.0, 4.0]], same, penalty=0.5)
    assert agreed.reward == 1
    assert disputed.reward == 1 - 0.5 * 3


FLOATS = st.floats(-100, 100)


@given(
    st.lists(st.tuples(FLOATS, FLOATS), min_size=1, max_size=5),
    st.floats(-10, 10),
    st.floats(0.1, 10),
)
def test_a_members_zero_and_scale_change_no_order(
    rewards: list[tuple[float, float]], shift: float, factor: float
) -> None:
    """Only the unit follows the members' mean scale."""
    one, two = map(list, zip(*rewards, strict=True))
    scales = [Scale(1.0, 2.0), Scale(0.0, 3.0)]
    moved = [scales[0], Scale(shift, 3.0 * factor)]
    before = combine_rewards([one, two], scales, 0.5)
    after = combine_rewards([one, [factor * r + shift for r in two]], moved, 0.5)
    unit = (2 + 3 * factor) / 5
    for a, b in zip(before, after, strict=True):
        assert b.reward == pytest.approx(unit * a.reward, abs=1e-6)
        assert b.spread == pytest.approx(unit * a.spread, abs=1e-6)


@pytest.mark.parametrize("rewards", [[0.1, 0.1, 0.1], [0.5]])
def test_a_model_that_rewards_everything_alike_is_refused(rewards: list[float]) -> None:
    with pytest.raises(UserError, match=r"^reward_model_seed_1: it rewards all .*ensemble: 1$"):
        measure_scale("reward_model_seed_1", rewards)
