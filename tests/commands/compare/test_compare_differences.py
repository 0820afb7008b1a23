"""What two runs' figures show about a difference."""

from collections.abc import Sequence

import pytest

from almost_kedro.commands.compare.differences import Measure, Score, compare_measures
from almost_kedro.commands.compare.wording import is_equal, write_verdict


def measure(values: Sequence[float], first: int = 0, **others: object) -> Measure:
    """A figure over items that are named from `first` on."""
    names = [f"i{number}" for number in range(first, first + len(values))]
    scores = [Score(name, name, value) for name, value in zip(names, values, strict=True)]
    value = sum(values) / len(values)
    return Measure(value, value, value, scores, **others)  # type: ignore[arg-type]


def test_a_difference_of_all_pairs_is_shown() -> None:
    outcome = compare_measures(measure([0.0] * 12), measure([0.5] * 12), 0)
    assert (outcome.test, outcome.n_common, outcome.n_differing) == ("paired", 12, 12)
    assert (outcome.value, outcome.low, outcome.high) == (0.5, 0.5, 0.5)
    assert outcome.shown


def test_what_is_hard_for_both_cancels_in_a_paired_test() -> None:
    # The values go from -50 to 50, far apart, and each rises by 0.1 to 0.3.
    old = [10.0 * i for i in range(-5, 6)]
    new = [value + 0.1 * (1 + i % 3) for i, value in enumerate(old)]
    outcome = compare_measures(measure(old), measure(new), 0)
    # (4 x 0.1 + 4 x 0.2 + 3 x 0.3) / 11
    assert outcome.value == pytest.approx(2.1 / 11)
    assert outcome.low is not None
    assert outcome.low >= 0.1
    assert outcome.shown


def test_gains_that_equal_losses_are_not_shown() -> None:
    outcome = compare_measures(measure([0.0, 1.0] * 20), measure([1.0, 0.0] * 20), 0)
    assert outcome.value == 0
    assert outcome.low is not None
    assert outcome.high is not None
    assert outcome.low < 0 < outcome.high
    assert not outcome.shown


@pytest.mark.parametrize(("n_differing", "shown"), [(5, False), (6, True)])
def test_fewer_than_six_pairs_that_differ_show_nothing(n_differing: int, shown: bool) -> None:
    # Of 5 pairs, all rise by chance in 1 of 32 cases and all rise or fall in 1 of 16.
    new = [1.0] * n_differing + [0.0] * (50 - n_differing)
    outcome = compare_measures(measure([0.0] * 50), measure(new), 0)
    assert outcome.low is not None
    assert outcome.low > 0
    assert outcome.shown is shown


@pytest.mark.parametrize(("n_questions", "shown"), [(5, False), (6, True)])
def test_two_votes_on_a_question_are_no_evidence_apart(n_questions: int, shown: bool) -> None:
    def vote(n_won: int) -> Measure:
        scores = [
            Score(f"q{i // 2}/{i % 2}", f"q{i // 2}", float(i < 2 * n_won)) for i in range(90)
        ]
        return Measure(n_won / 45, scores=scores)

    outcome = compare_measures(vote(0), vote(n_questions), 0)
    assert (outcome.n_common, outcome.n_differing, outcome.n_groups) == (
        90,
        2 * n_questions,
        n_questions,
    )
    assert outcome.low is not None
    assert outcome.low > 0
    assert outcome.shown is shown


def test_a_pair_counts_on_common_items_alone() -> None:
    # Items 5 to 19 are in both; there, all change from 0 to 1.
    old = measure([1.0] * 5 + [0.0] * 15)
    new = measure([1.0] * 15 + [0.0] * 5, first=5)
    outcome = compare_measures(old, new, 0)
    assert (outcome.test, outcome.n_common, outcome.value) == ("paired", 15, 1.0)


def test_with_few_common_items_each_run_is_drawn_by_itself() -> None:
    old, new = measure([0.0, 1.0] * 20), measure([1.0] * 30 + [0.0] * 10, first=35)
    outcome = compare_measures(old, new, 0)
    assert (outcome.test, outcome.n_common) == ("unpaired", 5)
    assert outcome.value == pytest.approx(0.75 - 0.5)
    # The difference's standard error is sqrt(0.25 / 40 + 0.1875 / 40), 0.105.
    assert outcome.low == pytest.approx(0.25 - 1.96 * 0.105, abs=0.03)
    assert outcome.high == pytest.approx(0.25 + 1.96 * 0.105, abs=0.03)


def test_an_item_whose_content_is_not_known_is_never_common() -> None:
    rows = [Score("", f"i{i}", float(i % 2)) for i in range(20)]
    unknown = Measure(0.5, 0.3, 0.7, rows)
    outcome = compare_measures(unknown, unknown, 0)
    assert (outcome.test, outcome.n_common) == ("unpaired", 0)


def test_a_benchmark_with_other_items_is_another_figure() -> None:
    old = measure([0.0] * 40, sampled=False)
    outcome = compare_measures(old, measure([1.0] * 40, first=100, sampled=False), 0)
    assert (outcome.test, outcome.value, outcome.why) == ("none", None, "on other items")


def test_figures_on_two_scales_have_no_difference() -> None:
    old, new = measure([0.0] * 12, scale="one"), measure([1.0] * 12, scale="other")
    outcome = compare_measures(old, new, 0)
    assert (outcome.test, outcome.value, outcome.why) == ("none", None, "measured differently")
    unknown = compare_measures(old, measure([1.0] * 12, scale=None), 0)
    assert (unknown.value, unknown.why) == (None, "not known what measured it")


def test_a_handful_of_prompts_is_not_tested() -> None:
    outcome = compare_measures(measure([0.0] * 9), measure([1.0] * 9), 0)
    assert (outcome.test, outcome.value, outcome.why) == ("none", 1.0, "fewer than 10 items")
    assert not outcome.shown


def test_many_rows_of_few_prompts_are_a_handful() -> None:
    rows = [Score(f"i{i}", f"prompt {i % 3}", 1.0) for i in range(60)]
    outcome = compare_measures(Measure(1.0, 1, 1, rows), Measure(1.0, 1, 1, rows), 0)
    assert outcome.why == "fewer than 10 items"


def test_a_figure_without_rows_is_not_tested() -> None:
    outcome = compare_measures(Measure(0.4, 0.3, 0.5), Measure(0.9, 0.8, 1.0), 0)
    assert (outcome.value, outcome.why, outcome.shown) == (0.5, "intervals only", False)
    assert compare_measures(Measure(3), Measure(5), 0).value == 2
    assert compare_measures(Measure("passed"), Measure("not passed"), 0).value is None


def test_votes_that_change_places_differ_though_their_questions_do_not() -> None:
    def vote(first: float) -> Measure:
        scores = [Score(f"q{i // 2}/{i % 2}", f"q{i // 2}", abs(first - i % 2)) for i in range(40)]
        return Measure(0.5, scores=scores)

    outcome = compare_measures(vote(0.0), vote(1.0), 0)
    assert (outcome.n_differing, outcome.n_groups, outcome.shown) == (40, 0, False)
    assert not is_equal(outcome)
    assert write_verdict(outcome) == "not shown (only 0 differ)"
