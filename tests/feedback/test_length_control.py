"""Rule 17 and the balance of lengths, on answers that are nothing but their length."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_rows import make_pair

from almost_kedro.feedback.ledger import RuleVerdict
from almost_kedro.feedback.length_control import (
    balance_edges,
    check_heuristic,
    check_like_length,
    length_difference,
)
from almost_kedro.options.rules import Rules
from almost_kedro.rows.feedback import Comparison

BOTH: list[Rules] = ["original", "corrected"]


def x(length: int) -> str:
    return "x" * length


# Rule 17


@pytest.mark.parametrize("rules", BOTH)
@pytest.mark.parametrize(
    ("chosen", "rejected", "rule"),
    # Lengths 50, 50, 150, 150: mean 100, population std 50, so the bound is 75.
    [
        (74, 150, "rule_17_heuristic"),
        (75, 150, "ok"),
        (74, 75, "rule_17_heuristic"),
        (74, 74, "ok"),
        (74, 50, "ok"),
        (150, 50, "ok"),
    ],
)
def test_shorter_chosen_answer_is_skipped_below_half_a_deviation(
    chosen: int, rejected: int, rule: str, rules: Rules
) -> None:
    usable = [x(50), x(50), x(150), x(150)]
    assert check_heuristic(x(chosen), x(rejected), usable, rules).rule == rule


@pytest.mark.parametrize("rules", BOTH)
def test_deviation_is_that_of_the_population(rules: Rules) -> None:
    # Mean 200; population std sqrt(20000 / 3) = 81.6, bound 159.2; a sample std would give 150.
    usable = [x(100), x(200), x(300)]
    assert check_heuristic(x(155), x(200), usable, rules).rule == "rule_17_heuristic"
    assert check_heuristic(x(160), x(200), usable, rules).rule == "ok"


def test_heuristic_verdict_says_what_was_found() -> None:
    verdict = check_heuristic(x(60), x(100), [x(60), x(100)], "original")
    # Mean 80, std 20.
    assert verdict.detail == "chosen 60 < rejected 100 and < 70 characters"


@pytest.mark.parametrize("shorter", [10, 90, 99])
def test_shorter_chosen_one_of_two_is_always_dropped_by_original_and_never_by_corrected(
    shorter: int,
) -> None:
    usable = [x(shorter), x(100)]
    verdict = check_heuristic(x(shorter), x(100), usable, "original")
    assert verdict.rule == "rule_17_heuristic"
    assert check_heuristic(x(shorter), x(100), usable, "corrected") == RuleVerdict()


@pytest.mark.parametrize("rules", BOTH)
def test_longer_or_equal_chosen_one_of_two_is_kept(rules: Rules) -> None:
    assert check_heuristic(x(100), x(60), [x(60), x(100)], rules) == RuleVerdict()
    assert check_heuristic(x(60), x(60), [x(60), x(60)], rules) == RuleVerdict()


# Pairs of like length


@pytest.mark.parametrize(
    ("chosen", "rejected", "difference"), [(100, 80, 0.2), (80, 100, -0.2), (70, 70, 0.0)]
)
def test_difference_is_a_share_of_the_longer_answer(
    chosen: int, rejected: int, difference: float
) -> None:
    assert length_difference(x(chosen), x(rejected)) == difference


@pytest.mark.parametrize(
    ("chosen", "rejected", "rule"),
    [
        (82, 100, "ok"),
        (100, 82, "ok"),
        (81, 100, "matched_length"),
        (100, 81, "matched_length"),
        (100, 100, "matched_tie"),
    ],
)
def test_lengths_may_differ_by_the_tolerance(chosen: int, rejected: int, rule: str) -> None:
    assert check_like_length(x(chosen), x(rejected), 0.18).rule == rule


def test_like_length_verdict_says_what_was_found() -> None:
    verdict = check_like_length(x(50), x(100), 0.18)
    assert verdict.detail == "chosen 50, rejected 100 characters: 50% apart, at most 18%"


# Balance


def test_scarcer_side_keeps_the_partner_of_the_nearest_difference() -> None:
    pairs = [
        make_pair("longer by 10 %", 100, 90),
        make_pair("shorter by 2 %", 98, 100),
        make_pair("shorter by 9 %", 91, 100),
        make_pair("shorter by 17 %", 83, 100),
    ]
    assert balance_edges(pairs) == {
        name: RuleVerdict(
            "matched_balance",
            "A over B: 1 pairs with the longer answer chosen, 3 without; "
            "this one (not longer) has no partner",
        )
        for name in ("shorter by 2 %", "shorter by 17 %")
    }


def test_widest_difference_chooses_its_partner_first() -> None:
    pairs = [
        make_pair("shorter by 10 %", 90, 100),
        make_pair("shorter by 12 %", 88, 100),
        make_pair("longer by 7 %", 100, 93),
        make_pair("longer by 11 %", 100, 89),
        make_pair("longer by 16 %", 100, 84),
    ]
    # 12 takes 11, then 10 takes 7; the other way about, 10 would take 11 and 12 take 16.
    assert set(balance_edges(pairs)) == {"longer by 16 %"}


def test_equal_lengths_count_as_not_longer() -> None:
    pairs = [make_pair("equal", 100, 100), make_pair("longer", 101, 100)]
    assert balance_edges(pairs) == {}
    assert set(balance_edges(pairs[:1])) == {"equal"}


def test_each_edge_is_balanced_on_its_own() -> None:
    pairs = [make_pair("ab", 100, 95, "AB"), make_pair("bc", 95, 100, "BC")]
    assert set(balance_edges(pairs)) == {"ab", "bc"}


def test_no_pairs_need_no_balance() -> None:
    assert balance_edges([]) == {}


PAIRS = st.lists(
    st.tuples(st.integers(80, 100), st.integers(80, 100), st.sampled_from(["AB", "AC", "BC"])),
    max_size=30,
).map(lambda rows: [make_pair(f"{i:02}", *row) for i, row in enumerate(rows)])


@given(pairs=PAIRS)
@settings(deadline=None, max_examples=150)
def test_balance_keeps_as_many_pairs_as_the_scarcer_side_allows(pairs: list[Comparison]) -> None:
    dropped = balance_edges(pairs)
    before: Counter[tuple[str, bool]] = Counter()
    after: Counter[tuple[str, bool]] = Counter()
    for row in pairs:
        side = (
            row["chosen_assistant"] + row["rejected_assistant"],
            len(row["chosen"]) > len(row["rejected"]),
        )
        before[side] += 1
        after[side] += row["comparison_id"] not in dropped
    for edge in ("AB", "AC", "BC"):
        scarcer = min(before[edge, True], before[edge, False])
        assert after[edge, True] == after[edge, False] == scarcer


@given(pairs=PAIRS, data=st.data())
@settings(deadline=None, max_examples=100)
def test_balance_does_not_depend_on_the_order_of_the_pairs(
    pairs: list[Comparison], data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(pairs))
    assert balance_edges(shuffled) == balance_edges(pairs)
