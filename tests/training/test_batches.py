"""The order of rows, planned before training."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from almost_kedro.training.batches import make_schedule, order_rows

LENGTHS = [(37 * i) % 100 + 1 for i in range(203)]


@given(
    st.lists(st.integers(1, 300), min_size=1, max_size=60),
    st.integers(1, 8),
    st.integers(1, 3),
    st.integers(0, 5),
)
def test_each_epoch_has_every_row_once(
    lengths: list[int], step_rows: int, epochs: int, seed: int
) -> None:
    order = order_rows(lengths, step_rows, epochs, seed)
    assert len(order) == epochs * len(lengths)
    for epoch in range(epochs):
        part = order[epoch * len(lengths) : (epoch + 1) * len(lengths)]
        assert Counter(part) == Counter(range(len(lengths)))


def measure_padding(order: list[int], step_rows: int) -> float:
    steps = [order[i : i + step_rows] for i in range(0, len(order), step_rows)]
    real = sum(LENGTHS[row] for row in order)
    return sum(len(step) * max(LENGTHS[row] for row in step) for step in steps) / real - 1


@pytest.mark.parametrize("epochs", [1, 3])
def test_rows_of_a_step_are_of_like_length_in_all_epochs(epochs: int) -> None:
    order = order_rows(LENGTHS, 8, epochs, seed=0)
    assert measure_padding(order, 8) < 0.08
    assert measure_padding(list(range(203)), 8) > 0.5


def test_steps_are_not_in_order_of_length() -> None:
    order = order_rows(LENGTHS, 8, 1, seed=0)
    longest = [max(LENGTHS[row] for row in order[i : i + 8]) for i in range(0, 200, 8)]
    assert longest not in (sorted(longest), sorted(longest, reverse=True))


def test_the_incomplete_step_comes_last_and_is_filled_up_by_the_next_epoch() -> None:
    order = order_rows([1, 2, 3, 4, 5], 2, 2, seed=0)
    assert len(set(order[:5])) == len(set(order[5:])) == 5
    for step in (order[0:2], order[2:4], order[6:8], order[8:10]):
        assert step == sorted(step, reverse=True)  # the longest first


def test_epochs_differ_and_a_seed_says_how() -> None:
    order = order_rows(LENGTHS, 8, 2, seed=0)
    assert order[:203] != order[203:]
    assert order == order_rows(LENGTHS, 8, 2, seed=0)
    assert order != order_rows(LENGTHS, 8, 2, seed=1)
    assert order[:203] == order_rows(LENGTHS, 8, 1, seed=0)


def test_a_schedule_counts_steps_tokens_and_rows() -> None:
    schedule = make_schedule([10, 20, 30], [11, 22, 33], step_rows=2, epochs=1, seed=0)
    assert schedule.n_steps == 2
    assert sorted(schedule.get_rows(1) + schedule.get_rows(2)) == [0, 1, 2]
    assert len(schedule.get_rows(2)) == 1
    assert schedule.count_tokens(0) == 0
    assert schedule.count_tokens(1) == sum([11, 22, 33][row] for row in schedule.get_rows(1))
    assert schedule.count_tokens(2) == 66


@pytest.mark.parametrize("step", [2, 3, 100])
def test_after_the_last_step_no_tokens_come(step: int) -> None:
    assert make_schedule([1] * 4, [5] * 4, 2, 1, 0).count_tokens(step) == 20
