"""Intervals by prompt, and calibration with both orders, against values worked out by hand."""

import time
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from almost_kedro.evaluation.statistics import (
    bootstrap_difference,
    bootstrap_mean,
    bootstrap_unpaired_difference,
    expected_calibration_error,
    reliability_curve,
)


def name_prompts(n: int) -> list[str]:
    return [f"p{i}" for i in range(n)]


# Bootstrap


def test_one_prompt_has_an_interval_without_width() -> None:
    assert bootstrap_mean([1, 0, 0, 1], ["p"] * 4, seed=0) == (0.5, 0.5)


def test_rows_of_one_prompt_are_drawn_together() -> None:
    # Four draws are possible: a and a (1), a and b, b and a (0.5), b and b (0).
    low, high = bootstrap_mean([1] * 50 + [0] * 50, ["a"] * 50 + ["b"] * 50, seed=0)
    assert (low, high) == (0, 1)
    rows = bootstrap_mean([1] * 50 + [0] * 50, name_prompts(100), seed=0)
    assert rows.low > 0.39
    assert rows.high < 0.61


def test_prompts_with_more_rows_weigh_more() -> None:
    # Draws: aa -> 3/3, ab and ba -> 3/4, bb -> 0/1.
    values, groups = [1, 1, 1, 0], ["a", "a", "a", "b"]
    assert bootstrap_mean(values, groups, seed=0, level=0.2) == (0.75, 0.75)
    assert bootstrap_mean(values, groups, seed=0, level=0.98) == (0, 1)


def test_quantiles_are_those_of_all_possible_draws() -> None:
    values = [0.0, 1.0, 2.0, 6.0]
    means = [sum(draw) / 4 for draw in product(values, repeat=4)]
    low, high = bootstrap_mean(values, "abcd", seed=0, n=20_000, level=0.8)
    assert (low, high) == tuple(np.quantile(means, [0.1, 0.9]))


def test_interval_agrees_with_scipy_where_each_row_has_its_own_prompt() -> None:
    values = np.random.default_rng(1).random(200)
    expected = stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(2)
    ).confidence_interval
    found = bootstrap_mean(values, name_prompts(200), seed=0, n=20_000)
    assert found == pytest.approx((expected.low, expected.high), abs=0.002)


def test_interval_covers_the_mean_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    groups = np.repeat(name_prompts(60), 3).tolist()
    hits = 0
    for seed in range(300):
        # Rows of a prompt go together: 180 rows, but only 60 independent ones.
        values = np.repeat(generator.random(60) < 0.7, 3)
        low, high = bootstrap_mean(values, groups, seed, n=500)
        hits += low <= 0.7 <= high
    assert 0.9 <= hits / 300 <= 0.98


def test_same_seed_gives_the_same_interval_and_another_seed_another() -> None:
    values = np.random.default_rng(1).random(50)
    first, again, other = (bootstrap_mean(values, name_prompts(50), seed) for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_order_of_the_rows_does_not_matter() -> None:
    values, groups = [1, 0, 0, 1, 1], ["b", "a", "c", "a", "b"]
    assert bootstrap_mean(values, groups, seed=0) == bootstrap_mean(
        values[::-1], groups[::-1], seed=0
    )


def test_no_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="no rows"):
        bootstrap_mean([], [], seed=0)


def test_equal_judges_differ_by_nothing() -> None:
    wins = [1, 0, 1, 0.5]
    assert bootstrap_difference(wins, wins, "abcd", seed=0) == (0, 0, 0, 0)


def test_difference_is_paired() -> None:
    # Each judge varies by row, the difference never does.
    a, b = np.array([0.2, 0.9, 0.4]), np.array([0.1, 0.8, 0.3])
    assert bootstrap_difference(a, b, "abc", seed=0) == pytest.approx((0.1, 0.1, 0.1, 0.1))


def test_one_sided_bound_is_the_low_end_of_the_two_sided_interval_of_twice_the_risk() -> None:
    a = np.random.default_rng(1).random(100)
    found = bootstrap_difference(a, np.zeros(100), name_prompts(100), seed=0)
    assert found.value == pytest.approx(a.mean())
    assert found[1:3] == bootstrap_mean(a, name_prompts(100), seed=0)
    expected = bootstrap_mean(a, name_prompts(100), seed=0, level=0.9).low
    assert found.low_one_sided == pytest.approx(expected)
    assert found.low < found.low_one_sided < found.value


def test_20_000_prompts_take_seconds() -> None:
    start = time.perf_counter()
    low, high = bootstrap_mean(np.arange(40_000) % 3 == 0, name_prompts(20_000) * 2, seed=0)
    assert low < 1 / 3 < high
    assert time.perf_counter() - start < 10


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(-5, 5), st.sampled_from("abcd")), min_size=1, max_size=30))
def test_intervals_are_ordered_and_inside_the_values(rows: list[tuple[float, str]]) -> None:
    values, groups = zip(*rows, strict=True)
    low, high = bootstrap_mean(values, groups, seed=0, n=50)
    assert min(values) - 1e-9 <= low <= high <= max(values) + 1e-9


def test_an_unpaired_difference_is_of_the_means_and_draws_both() -> None:
    a, b = [1.0] * 10, [0.0, 1.0] * 10
    groups = [str(i) for i in range(20)]
    found = bootstrap_unpaired_difference(a, groups[:10], b, groups, seed=0)
    assert found.value == 0.5
    assert found.low <= found.low_one_sided < 0.5 < found.high
    # Only b varies: its mean of 20 has the standard error 0.5 / sqrt(20), 0.112.
    assert found.low == pytest.approx(0.5 - 1.96 * 0.112, abs=0.04)


# Calibration


def test_reliability_is_the_same_for_both_orders_of_a_pair() -> None:
    first = reliability_curve([0.9, 0.3, 0.6], [1, 1, 1])
    swapped = reliability_curve([0.1, 0.7, 0.4], [0, 0, 0])
    assert [each["n"] for each in first] == [each["n"] for each in swapped] == [1, 1, 1]
    for one, other in zip(first, swapped, strict=True):
        assert one == pytest.approx(other)


def test_curve_has_confidence_and_share_right_by_bin() -> None:
    # Of the bins [0.5, 0.75) and [0.75, 1]: 0.6 right, 0.4 wrong; 0.75, 0.9 and 1 right.
    assert reliability_curve([0.6, 0.4, 0.75, 0.9, 1.0], np.ones(5), bins=2) == [
        pytest.approx(
            {"low": 0.5, "high": 0.75, "n": 2, "mean_probability": 0.6, "share_right": 0.5}
        ),
        pytest.approx(
            {"low": 0.75, "high": 1, "n": 3, "mean_probability": 2.65 / 3, "share_right": 1}
        ),
    ]


def test_error_is_the_mean_gap_weighted_by_pairs() -> None:
    # (2 * |0.5 - 0.6| + 3 * |1 - 2.65 / 3|) / 5 = (0.2 + 0.35) / 5
    error = expected_calibration_error([0.6, 0.4, 0.75, 0.9, 1.0], np.ones(5), bins=2)
    assert error == pytest.approx(0.11)


def test_a_model_that_prefers_nothing_is_calibrated() -> None:
    assert expected_calibration_error(np.full(7, 0.5), np.ones(7)) == 0


def test_a_model_that_is_sure_and_right_in_half_is_off_by_a_half() -> None:
    assert expected_calibration_error([1.0, 0.0] * 10, np.ones(20)) == 0.5


def test_a_model_that_is_unsure_and_always_right_is_off_by_a_half() -> None:
    assert expected_calibration_error(np.full(20, 0.5 + 1e-9), np.ones(20)) == pytest.approx(0.5)


def test_many_pairs_won_as_often_as_predicted_have_next_to_no_error() -> None:
    generator = np.random.default_rng(0)
    p = generator.random(100_000)
    assert expected_calibration_error(p, generator.random(100_000) < p) < 0.01
    assert expected_calibration_error(p**3, generator.random(100_000) < p) > 0.05


def test_nothing_has_no_error() -> None:
    assert expected_calibration_error([], []) == 0
    assert reliability_curve([], []) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.integers(1, 12))
def test_each_pair_is_in_one_bin_that_holds_its_confidence(p: list[float], bins: int) -> None:
    curve = reliability_curve(p, np.ones(len(p)), bins)
    assert sum(each["n"] for each in curve) == len(p)
    for each in curve:
        assert each["low"] - 1e-9 <= each["mean_probability"] <= each["high"] + 1e-9
        assert 0 <= each["share_right"] <= 1
