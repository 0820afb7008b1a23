"""Batches of like length."""

from hypothesis import given
from hypothesis import strategies as st

from almost_kedro.generation.batches import split_by_length


@given(st.lists(st.integers(1, 50), max_size=40), st.integers(1, 200))
def test_batches_hold_every_row_once_and_no_more_tokens_than_allowed(
    lengths: list[int], batch_tokens: int
) -> None:
    batches = split_by_length(lengths, batch_tokens)
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    for batch in batches:
        longest = max(lengths[row] for row in batch)
        assert len(batch) == 1 or len(batch) * longest <= batch_tokens


def test_the_longest_rows_come_first() -> None:
    assert split_by_length([1, 5, 2, 4], 8) == [[1], [3, 2], [0]]
