from collections import deque

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from almost_kedro.generation.scheduling import Row, admit, leave, plan_step
from almost_kedro.generation.slots import Slots
from almost_kedro.generation.steps import Step

CPU = torch.device("cpu")
# A prefix of two tokens, then what a row has of its own.
PREFIX = [1, 2]


def make_row(index: int, *own: int) -> Row:
    return Row(index, [*PREFIX, *own], np.zeros((4, 8)))


def numbers(rows: list[list[Row]]) -> list[list[int]]:
    return [[row.index for row in alike] for alike in rows]


def test_rows_are_admitted_in_order_those_that_are_alike_together() -> None:
    waiting = deque([make_row(0, 5, 6), make_row(1, 5, 6), make_row(2, 5, 7), make_row(3, 8)])
    assert numbers(admit(waiting, places=3, length=2, most=100)) == [[0, 1], [2]]
    assert numbers(admit(waiting, places=3, length=2, most=100)) == [[3]]


def test_no_more_tokens_are_read_at_once_than_allowed_but_for_a_single_row() -> None:
    waiting = deque([make_row(0, *range(50)), make_row(1, 5, 6), make_row(2, 7, 8), make_row(3, 9)])
    assert numbers(admit(waiting, places=9, length=2, most=4)) == [[0]]
    assert numbers(admit(waiting, places=9, length=2, most=4)) == [[1], [2]]


def test_a_pass_reads_fresh_tokens_first_and_then_every_rows_last() -> None:
    old = make_row(0, 5, 6)
    old.generated = [40, 41]
    new = [[make_row(1, 7, 8, 9), make_row(2, 7, 8, 9)], [make_row(3, 10)]]
    rows = [old, *new[0], *new[1]]
    ids, step = plan_step(rows, new, 2, CPU)
    assert ids.tolist() == [7, 8, 41, 9, 9, 10]
    assert step.positions.tolist() == [2, 3, 5, 4, 4, 2]
    assert step.lengths.tolist() == [4, 3, 3, 1]
    # Both rows that are alike get the fresh tokens 0 and 1, in slots 1 and 2.
    written = zip(step.tokens.tolist(), step.slots.tolist(), step.places.tolist(), strict=True)
    assert list(written) == [
        (0, 1, 0), (1, 1, 1), (0, 2, 0), (1, 2, 1), (2, 0, 3), (3, 1, 2), (4, 2, 2), (5, 3, 0)
    ]  # fmt: skip
    assert step.fresh is not None
    assert step.fresh.tolist() == [[0, 1], [-1, -1]]


def test_a_pass_without_new_rows_has_no_fresh_tokens() -> None:
    ids, step = plan_step([make_row(0, 5), make_row(1, 6)], [], 2, CPU)
    assert ids.tolist() == [5, 6]
    assert step.fresh.shape == (0, 0)
    assert step.sizes == []


def test_the_last_rows_move_into_the_slots_of_finished_ones() -> None:
    slots = Slots([], 0, capacity=5, most=20)
    slots.begin(*plan_step([make_row(i, i) for i in range(5)], [], 0, CPU))
    layer = slots.layer(0, torch.zeros(1, 1, 1, 2))
    layer.keys[:, 0, 0, 0] = torch.arange(5.0)
    rows = leave([make_row(i, i) for i in range(5)], [1, 3], slots)
    assert [row.index for row in rows] == [0, 4, 2]
    assert layer.keys[:3, 0, 0, 0].tolist() == [0, 4, 2]


def test_when_all_are_finished_nothing_is_left() -> None:
    slots = Slots([], 0, capacity=2, most=20)
    assert leave([make_row(0, 0), make_row(1, 1)], [0, 1], slots) == []


def test_slots_are_as_long_as_the_longest_row_needs_and_keep_what_they_have() -> None:
    slots = Slots([(torch.ones(1, 3, 2), torch.ones(1, 3, 2))] * 3, 3, capacity=2, most=60)
    row = make_row(0, *range(4))
    rooms = []
    for n in (10, 30, 40, 20, 15):
        row.generated = [1] * n
        ids, step = plan_step([row], [], 0, CPU)
        slots.begin(ids, step)
        rooms.append(step.longest)
        for number in range(3):
            layer = slots.layer(number, torch.zeros(1, 1, 1, 2))
            if n == 10:
                layer.keys[0, 0, :14], layer.values[0, 0, :14] = number, 10 + number
            for kept, content in ((layer.keys, number), (layer.values, 10 + number)):
                assert kept.shape == (2, 1, step.longest, 2)
                assert kept[0, 0, :14].eq(content).all()
                assert kept[0, 0, 14:].eq(0).all()
            assert layer.prefix is not None
            assert [len(each[0]) for each in layer.prefix] == [3 + step.longest] * 2
    # In tiles of 16; they shrink only where half of them would be empty.
    assert rooms == [16, 48, 48, 48, 48]
    row.generated = []
    ids, step = plan_step([row], [], 0, CPU)
    slots.begin(ids, step)
    assert slots.layer(0, torch.zeros(1, 1, 1, 2)).keys.shape[2] == 16


@pytest.mark.parametrize("trees", [False, True])
@pytest.mark.parametrize("window", [None, 50])
def test_masks_are_as_small_as_what_they_mask(trees: bool, window: int | None) -> None:
    """A long text beside many short ones is the only one with a large mask."""
    sizes = [600, *[4] * 300]
    fresh = torch.full((len(sizes), 600), -1)
    ends = np.cumsum(sizes)
    for line, end, size in zip(fresh, ends, sizes, strict=True):
        line[:size] = torch.arange(end - size, end)
    positions = torch.cat([torch.arange(size) for size in sizes])
    none = torch.empty(0, dtype=torch.long)
    seen = [torch.ones(size, size, dtype=torch.bool).tril() for size in sizes] if trees else None
    step = Step(positions, none, 0, none, none, none, fresh, sizes, seen)
    cells = 0
    for rows, queries in step.fresh_parts(10_000, 100):
        mask = step.mask_fresh(rows, queries, window, torch.float32)
        cells += mask.numel()
        assert mask is step.mask_fresh(rows, queries, window, torch.float32)
        index = torch.arange(queries.stop)
        back = index[queries, None] - index
        expected = (back >= 0) & (back < (window or queries.stop))
        for row, size in enumerate(sizes[rows]):
            own = max(0, min(size, queries.stop) - queries.start)
            line = mask[row if trees else 0, :own, :size]
            assert line.isfinite().equal(expected[:own, :size])
    assert cells < 600**2 + 300 * 4**2


@given(
    st.lists(st.integers(0, 30), max_size=12),
    st.integers(1, 400),
    st.integers(0, 50),
)
def test_parts_have_every_fresh_token_once(sizes: list[int], most: int, prefix: int) -> None:
    sizes = sorted(sizes, reverse=True)
    none = torch.empty(0, dtype=torch.long)
    fresh = torch.full((len(sizes), max(sizes, default=0)), -1)
    for row, size in enumerate(sizes):
        fresh[row, :size] = torch.arange(size) + 100 * row
    step = Step(none, none, 0, none, none, none, fresh, sizes)
    found = []
    for rows, queries in step.fresh_parts(most, prefix):
        part = fresh[rows, queries]
        found += part[part >= 0].tolist()
        own = fresh[rows, : queries.stop]
        # Earlier ones of its row are there to be seen, and no more scores than wanted.
        assert own[part[:, -1] >= 0].min() >= 0
        assert part.numel() == 1 or part.numel() * (prefix + max(1, sizes[rows.start])) <= most
    assert sorted(found) == sorted(fresh[fresh >= 0].tolist())
