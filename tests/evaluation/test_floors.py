"""Judges that read nothing: the longer answer, the shorter one, and the surface."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_rows import make_comparison
from scipy.optimize import minimize

from almost_kedro.evaluation.floors import (
    RIDGE,
    fit_surface_model,
    longer_wins,
    score_wins,
    shorter_wins,
    surface_features,
    surface_wins,
)
from almost_kedro.rows.feedback import Comparison

answers = st.text("ab.\n-1 ", min_size=1, max_size=12)
pairs = st.lists(st.tuples(answers, answers), min_size=1, max_size=20)


def make_pairs(texts: list[tuple[str, str]]) -> list[Comparison]:
    return [make_comparison(chosen=chosen, rejected=rejected) for chosen, rejected in texts]


def test_ties_are_half_a_win() -> None:
    assert score_wins([2.5, 0, -0.1]).tolist() == [1, 0.5, 0]


def test_longer_and_shorter_judge_by_characters() -> None:
    rows = make_pairs([("aaa", "b"), ("a", "bbb"), ("äöü", "abc")])
    assert longer_wins(rows).tolist() == [1, 0, 0.5]
    assert shorter_wins(rows).tolist() == [0, 1, 0.5]


@pytest.mark.parametrize(
    ("chosen", "rejected", "features"),
    [
        ("Yes it is.", "Maybe", [0.5, 1, 0]),
        ("Maybe", "Yes it is.", [-0.5, -1, 0]),
        ("He said “no!”", "He said -- no", [0, 1, 0]),
        ("One:\n- buy tea", "Then buy tea.", [1 / 14, -1, 1]),
        ("1. Buy tea.\n2. Drink.", "1) Buy.\n\n* Drink it!!", [0, 0, 0]),
        ("Here:\n1. a\nThat is it", "1990 was the year 19.5", [-1 / 22, 0, 0]),
        ("Buy tea.  \n", "Buy some tea", [-1 / 12, 1, 0]),
    ],
)
def test_features_are_length_sentence_end_and_list_end(
    chosen: str, rejected: str, features: list[float]
) -> None:
    assert surface_features(chosen, rejected).tolist() == features


@given(answers, answers)
def test_swapping_the_answers_flips_every_feature(one: str, other: str) -> None:
    assert surface_features(one, other).tolist() == (-surface_features(other, one)).tolist()


@settings(deadline=None)
@given(pairs, pairs)
def test_swapping_the_answers_flips_every_win(
    train: list[tuple[str, str]], test: list[tuple[str, str]]
) -> None:
    weights = fit_surface_model(make_pairs(train))
    wins = surface_wins(weights, make_pairs(test))
    swapped = surface_wins(weights, make_pairs([(b, a) for a, b in test]))
    assert (wins + swapped).tolist() == [1] * len(test)


@settings(deadline=None)
@given(pairs)
@pytest.mark.filterwarnings("error")
def test_the_fit_has_no_slope_left(train: list[tuple[str, str]]) -> None:
    features = np.array([surface_features(*each) for each in train])
    weights = fit_surface_model(make_pairs(train))
    missing = 1 / (1 + np.exp(features @ weights))
    assert np.abs(RIDGE * weights - features.T @ missing).max() < 1e-8


def test_the_fit_is_the_minimum_that_scipy_finds() -> None:
    train = [("aaaa.", "bb"), ("aa", "bbbb."), ("aaa.", "b"), ("x\n- aa", "bbb."), ("aaa", "bb")]
    features = np.array([surface_features(*each) for each in train])

    def loss(weights: np.ndarray) -> float:
        return np.logaddexp(0, -features @ weights).sum() + RIDGE / 2 * (weights**2).sum()

    expected = minimize(loss, np.zeros(3), tol=1e-12).x
    assert fit_surface_model(make_pairs(train)) == pytest.approx(expected, abs=1e-4)


def test_what_the_training_pairs_show_is_what_decides() -> None:
    # Chosen answers are shorter and end a sentence in training, so that wins on other pairs.
    weights = fit_surface_model(make_pairs([("Yes.", "no no no"), ("It is.", "never ever")]))
    assert weights[0] < 0 < weights[1]
    assert weights[2] == 0
    test = make_pairs([("Fine.", "oh my god"), ("oh my god", "Fine."), ("one", "two")])
    assert surface_wins(weights, test).tolist() == [1, 0, 0.5]


def test_without_training_pairs_nothing_is_preferred() -> None:
    weights = fit_surface_model([])
    assert weights.tolist() == [0, 0, 0]
    assert surface_wins(weights, make_pairs([("aaa.", "b")])).tolist() == [0.5]
