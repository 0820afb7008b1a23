"""Texts that begin alike are put together, and each token sees what it would see alone."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from almost_kedro.generation.reading import plan_reading
from almost_kedro.generation.trees import (
    SHARED_TOKENS,
    Batch,
    count_batch,
    count_tokens,
    find_shared,
    join_texts,
    make_batches,
)

CPU = torch.device("cpu")
# Few different tokens, so that texts often begin alike.
texts_of = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=12), min_size=1, max_size=9)


def test_a_tree_has_what_its_texts_have_in_common_once() -> None:
    texts = [[1, 2, 3, 4], [1, 2, 3, 5, 6], [1, 2, 3, 5, 6], [1, 9]]
    assert count_tokens(texts, 0) == 7
    assert count_tokens(texts, 1) == 6
    ids, step, paths = plan_reading([texts, [[7, 8]]], 0, CPU)
    assert ids.tolist() == [1, 2, 3, 4, 5, 6, 9, 7, 8]
    assert step.positions.tolist() == [0, 1, 2, 3, 3, 4, 1, 0, 1]
    assert [path.tolist() for path in paths] == [
        [0, 1, 2, 3],
        [0, 1, 2, 4, 5],
        [0, 1, 2, 4, 5],
        [0, 6],
        [7, 8],
    ]
    assert step.sizes == [7, 2]
    assert step.fresh.tolist() == [list(range(7)), [7, 8, *[-1] * 5]]
    assert step.seen is not None
    # The 6 sees 1, 2, 3, 5 and itself; the 9 sees the 1; nothing in the other tree.
    assert step.seen[0][5].tolist() == [True, True, True, False, True, True, False]
    assert step.seen[0][6].tolist() == [True, *[False] * 5, True]
    assert step.seen[1][1].tolist() == [True, True]


@given(texts_of, st.integers(0, 3), st.integers(1, 40), st.integers(1, 30), st.integers(1, 9))
def test_every_token_is_there_at_its_place_and_sees_what_is_before_it(
    texts: list[list[int]], more: int, width: int, tokens: int, positions: int
) -> None:
    start = [3] * (SHARED_TOKENS * (more > 1))
    texts = [start + text for text in texts]
    batches = make_batches(texts, [1] * len(texts), width, tokens, positions)
    assert sorted(number for batch in batches for number in batch.numbers) == [*range(len(texts))]
    for batch in batches:
        trees = [[texts[number] for number in tree] for tree in batch.trees]
        n = len(batch.shared)
        ids, step, paths = plan_reading(trees, n, CPU)
        assert len(ids) == count_batch(batch, texts)
        assert len(batch.trees) == 1 or len(ids) <= tokens
        assert len(batch.trees) == 1 or len(batch.numbers) <= positions
        assert step.seen is not None
        ends = np.cumsum([count_tokens(tree, n) for tree in trees])
        for number, path in zip(batch.numbers, paths, strict=True):
            assert [*batch.shared, *ids[path].tolist()] == texts[number]
            assert step.positions[path].tolist() == [*range(n, len(texts[number]))]
            tree = int(np.searchsorted(ends, path[0], side="right"))
            own = path - (ends[tree - 1] if tree else 0)
            for i, place in enumerate(own):
                assert step.seen[tree][place].nonzero()[:, 0].tolist() == own[: i + 1].tolist()


def test_texts_are_joined_where_reading_costs_more_than_attention() -> None:
    # In common 5 of 10: five tokens less to read, 15^2 - 2 x 10^2 = 25 more pairs to score.
    texts = [[0] * 5 + [1] * 5, [2] * 5, [0] * 5 + [3] * 5]
    assert join_texts(texts, 0, width=5) == [[0, 2], [1]]
    assert join_texts(texts, 0, width=4) == [[0], [2], [1]]
    # What is read before is not in common.
    assert join_texts([[9, *text] for text in texts], 1, width=4) == [[0], [2], [1]]


def test_equal_texts_are_always_joined() -> None:
    assert join_texts([[1, 2], [3], [1, 2]], 0, width=0) == [[0, 2], [1]]


@pytest.mark.parametrize(("n", "shared"), [(3, False), (4, True)])
def test_a_beginning_that_all_share_is_read_before_if_it_pays(n: int, shared: bool) -> None:
    start = [*range(20)]
    texts = [[*start, 30 + i, 7] for i in range(n)]
    assert find_shared(texts, [1] * n) == (tuple(start) if shared else ())
    # What is asked about is read with its text.
    assert find_shared(texts, [6] * n) == (tuple(start[:16]) if shared else ())
    assert find_shared(texts, [7] * n) == ()
    assert find_shared([text[5:] for text in texts], [1] * n) == ()


def test_the_largest_trees_come_first_and_batches_keep_their_limits() -> None:
    texts = [[i] * length for i, length in enumerate((3, 9, 5, 1, 2))]
    batches = make_batches(texts, [1, 1, 1, 1, 2], 0, tokens=8, positions=2)
    assert batches == [Batch([[1]]), Batch([[2], [0]]), Batch([[4]]), Batch([[3]])]
    assert make_batches([], [], 0, 8, 2) == []


def test_batches_do_not_depend_on_the_order_of_their_texts_but_for_names() -> None:
    texts = [[1, 2, 3], [1, 2, 4], [5], [1, 2, 3, 6]]
    for order in itertools.permutations(range(4)):
        batches = make_batches([texts[i] for i in order], [1] * 4, 9, 4, 9)
        found = [[[texts[order[i]] for i in tree] for tree in batch.trees] for batch in batches]
        assert found == [[[[1, 2, 3], [1, 2, 3, 6], [1, 2, 4]]], [[[5]]]]
