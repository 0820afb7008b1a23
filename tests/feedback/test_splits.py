"""Prompt splits: disjoint, exhaustive, by the shares, and the same in any order of the prompts."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_rows import make_comparison, make_prompt, make_splits

from almost_kedro.errors import UserError
from almost_kedro.feedback.splits import (
    ANSWERED,
    CONTAMINATED,
    SPLITS,
    TRAINED,
    count_shares,
    digest_splits,
    require_prompts,
    select_comparisons,
    select_prompts,
    split_prompts,
)
from almost_kedro.options.training import PromptSplitOptions
from almost_kedro.rows.training import PromptSplits

SHARES = (0.5, 0.1, 0.1, 0.1, 0.1, 0.05, 0.05)
OPTIONS = PromptSplitOptions(**dict(zip(SPLITS, SHARES, strict=True)))


PROMPTS = [make_prompt(f"p{i}") for i in range(40)]
FEW = make_splits({"a": "rl", "b": "held_out", "c": "rl"})

# Shares


@pytest.mark.parametrize(
    ("shares", "n", "counts"),
    [
        ((0.5, 0.3, 0.2), 10, [5, 3, 2]),
        # Quotas 5.5, 3.3, 2.2: the one left over goes to the largest remainder.
        ((0.5, 0.3, 0.2), 11, [6, 3, 2]),
        # Quotas 1.25, 1.25, 2.5.
        ((0.25, 0.25, 0.5), 5, [1, 1, 3]),
        # Equal remainders: the first.
        ((0.5, 0.5), 3, [2, 1]),
        # Quotas 7.84, 0.08, 0.08: both small ones take one from the large one.
        ((0.98, 0.01, 0.01), 8, [6, 1, 1]),
        # Quotas 4.5, 1.5, 9: equal, though not in binary.
        ((0.3, 0.1, 0.6), 15, [5, 1, 9]),
        # Thirds that do not quite sum to 1.
        ((0.3333333, 0.3333333, 0.3333333), 3_000_000, [1_000_000] * 3),
    ],
)
def test_counts_are_by_largest_remainders(
    shares: tuple[float, ...], n: int, counts: list[int]
) -> None:
    assert count_shares(shares, n) == counts


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=7), st.integers(0, 500))
def test_counts_sum_to_all_and_none_is_empty(weights: list[int], more: int) -> None:
    n = len(weights) + more
    shares = [weight / sum(weights) for weight in weights]
    counts = count_shares(shares, n)
    assert sum(counts) == n
    assert min(counts) >= 1
    if min(n * share for share in shares) >= 1:
        assert all(abs(c - n * s) < 1 for c, s in zip(counts, shares, strict=True))


# Splits


def test_forty_prompts_are_split_by_the_shares() -> None:
    splits = split_prompts(PROMPTS, OPTIONS, 0)
    names = [row["split"] for row in splits]
    assert [names.count(name) for name in SPLITS] == [20, 4, 4, 4, 4, 2, 2]


@given(st.integers(7, 60), st.integers(0, 5), st.randoms(use_true_random=False))
def test_each_prompt_has_one_split_in_any_order_of_the_prompts(
    n: int, seed: int, shuffler: random.Random
) -> None:
    prompts = [make_prompt(f"p{i}") for i in range(n)]
    splits = split_prompts(prompts, OPTIONS, seed)
    assert [row["prompt_id"] for row in splits] == [prompt["prompt_id"] for prompt in prompts]
    assert {row["split"] for row in splits} == set(SPLITS)
    PromptSplits().validate(splits)
    shuffled = shuffler.sample(prompts, n)
    again = split_prompts(shuffled, OPTIONS, seed)
    assert [row["prompt_id"] for row in again] == [prompt["prompt_id"] for prompt in shuffled]
    assert digest_splits(again) == digest_splits(splits)


def test_another_seed_splits_otherwise() -> None:
    assert split_prompts(PROMPTS, OPTIONS, 0) != split_prompts(PROMPTS, OPTIONS, 1)


def test_with_fewer_prompts_than_splits_the_smallest_get_none() -> None:
    rows = split_prompts(PROMPTS[:3], OPTIONS, 0)
    assert len(rows) == 3
    assert {row["split"] for row in rows} <= {"reward_model", "held_out_reward_model", "held_out"}


def test_a_split_without_prompts_is_said_when_it_is_needed() -> None:
    with pytest.raises(UserError, match=r"^prompts: none of the 3 is in split watch; raise "):
        require_prompts([make_prompt(key) for key in "cba"], FEW, "watch")


def test_contaminated_prompts_are_set_aside_and_the_others_split_as_without_them() -> None:
    rows = split_prompts(PROMPTS, OPTIONS, 0, {"p3", "p17"})
    assert [row["prompt_id"] for row in rows] == [prompt["prompt_id"] for prompt in PROMPTS]
    assert [row["prompt_id"] for row in rows if row["split"] == CONTAMINATED] == ["p3", "p17"]
    others = [prompt for prompt in PROMPTS if prompt["prompt_id"] not in ("p3", "p17")]
    assert [row for row in rows if row["split"] != CONTAMINATED] == (
        split_prompts(others, OPTIONS, 0)
    )
    PromptSplits().validate(rows)


def test_no_pipeline_gets_a_contaminated_prompt_or_its_comparison() -> None:
    """Each asks for its splits by name."""
    rows = split_prompts(PROMPTS, OPTIONS, 0, {"p3"})
    assert CONTAMINATED not in {*SPLITS, *ANSWERED, *TRAINED}
    comparisons = [make_comparison("1", prompt_id="p3")]
    for name in SPLITS:
        assert PROMPTS[3] not in require_prompts(PROMPTS, rows, name)
        assert select_comparisons(comparisons, rows, name) == []


def test_where_nothing_is_contaminated_splits_are_the_same() -> None:
    assert split_prompts(PROMPTS, OPTIONS, 0, {"x"}) == split_prompts(PROMPTS, OPTIONS, 0)


def test_all_prompts_may_be_contaminated() -> None:
    rows = split_prompts(PROMPTS[:9], OPTIONS, 0, {prompt["prompt_id"] for prompt in PROMPTS})
    assert [row["split"] for row in rows] == [CONTAMINATED] * 9


# Selection


def test_prompts_of_a_split_keep_their_order() -> None:
    prompts = [make_prompt(key) for key in "cba"]
    assert select_prompts(prompts, FEW, ["rl"]) == [prompts[0], prompts[2]]
    assert select_prompts(prompts, FEW, ANSWERED) == [prompts[1]]


def test_comparisons_are_those_of_the_splits_prompts() -> None:
    rows = [make_comparison(f"c{i}", prompt_id=name) for i, name in enumerate("bab")]
    assert select_comparisons(rows, FEW, "held_out") == [rows[0], rows[2]]


def test_a_prompt_without_a_split_is_refused() -> None:
    with pytest.raises(
        UserError,
        match=r"^prompts: 1 of 2 rows are of prompts that have no split; prompts and prompt_splits "
        r"are of different versions; .* --load-versions prompts:V,prompt_splits:V$",
    ):
        select_prompts([make_prompt("a"), make_prompt("x")], FEW, ["rl"])


def test_a_comparison_of_a_prompt_without_a_split_is_refused() -> None:
    with pytest.raises(UserError, match=r"^comparisons: 1 of 1 rows"):
        select_comparisons([make_comparison("1", prompt_id="x")], FEW, "rl")


def test_digest_tells_which_prompt_has_which_split() -> None:
    moved = make_splits({"a": "watch", "b": "held_out", "c": "rl"})
    assert digest_splits(FEW) == digest_splits(FEW[::-1])
    assert len({digest_splits(FEW), digest_splits(moved), digest_splits(FEW[1:])}) == 3
