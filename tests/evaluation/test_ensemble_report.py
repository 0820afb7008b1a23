"""What members say together on held-out comparisons, counted by hand."""

import pytest
from made_rows import make_comparison

from almost_kedro.evaluation.ensemble_report import report_ensemble
from almost_kedro.feedback.ensemble import Scale

SAME = [Scale(0.0, 1.0)] * 2
ROWS = [make_comparison(f"c{number}") for number in range(4)]


def test_the_mean_can_be_right_where_one_member_is_wrong_and_the_penalty_can_turn_it() -> None:
    """Margins: (2, -1), (2, -1), (1, 1) and (-1, -1); all rejected rewards are 0.

    Means are 0.5, 0.5, 1 and -1, spreads of the chosen answers 1.5, 1.5, 0 and 0. With a penalty of
    0.5 the first two are -0.25.
    """
    chosen, rejected = [[2.0, 2.0, 1.0, -1.0], [-1.0, -1.0, 1.0, -1.0]], [[0.0] * 4] * 2
    report = report_ensemble(ROWS, chosen, rejected, SAME, 0.5, seed=0)
    assert [each["value"] for each in report["members"]] == [0.75, 0.25]
    assert report["mean"]["value"] == 0.75
    assert report["used"]["value"] == 0.25
    assert report["gain"]["value"] == 0.25 - 0.5
    assert report["disagreement"] == pytest.approx(2 * 1.5 / 8)
    assert report["unanimous"]["value"] == 0.5
    assert (report["n_members"], report["n"], report["penalty"]) == (2, 4, 0.5)


def test_without_comparisons_there_are_only_counts() -> None:
    assert report_ensemble([], [[], []], [[], []], SAME, 0.5, 0) == {
        "n_members": 2,
        "n": 0,
        "penalty": 0.5,
    }
