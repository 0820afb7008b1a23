"""What the report says of mismatched pairs and of several reward models as one."""

from typing import Any

from report_findings import GAIN, SHARE, make_findings, make_metrics

from almost_kedro.pages.report import make_report
from almost_kedro.pages.report.reward_models import describe_mismatched, tabulate_ensemble

MISMATCHED: Any = {
    "n_pairs": 1300,
    "n_held_out": 100,
    "per_pair": 2,
    "weight": 0.5,
    "accuracy": {"reward": SHARE, "held_out": SHARE},
}
ENSEMBLE: Any = {
    "n_members": 2,
    "n": 100,
    "penalty": 0.5,
    "members": [SHARE, SHARE],
    "mean": SHARE,
    "used": SHARE,
    "gain": GAIN,
}
TRAINING = {
    "tokens": 900,
    "load_seconds": 1.0,
    "train_seconds": 9.0,
    "seed 1": {"tokens": 950, "load_seconds": 1.0, "train_seconds": 19.0},
}


def test_pairs_are_counted_without_those_that_test() -> None:
    assert describe_mismatched(MISMATCHED) == (
        "Both reward models also learned from 1,200 mismatched pairs (2 beside each comparison, "
        "weight 0.5). Which of two answers belongs to a held-out prompt, the reward model tells in "
        "60.0% [55.0%, 65.0%] of 100 pairs, the held-out one in 60.0% [55.0%, 65.0%]."
    )
    assert describe_mismatched({**MISMATCHED, "accuracy": {}}).endswith("weight 0.5).")


def test_nothing_is_said_where_the_options_are_off_or_were_not_there() -> None:
    assert describe_mismatched({"n_pairs": 0}) == describe_mismatched(None) == ""
    assert tabulate_ensemble({"n_members": 1}, TRAINING) is None
    assert tabulate_ensemble(None, TRAINING) is None


def test_members_stand_beside_all_of_them_with_what_they_took() -> None:
    table = tabulate_ensemble(ENSEMBLE, TRAINING)
    assert table
    right = "60.0% [55.0%, 65.0%]"
    assert table.rows == (
        ("reward model", right, "900", "10"),
        ("seed 1", right, "950", "20"),
        ("mean of all", right, "1,850", "30"),
        ("mean - 0.5 x disagreement, which is used", right, "1,850", "30"),
    )


def test_members_of_contrasts_are_named_after_them() -> None:
    training = {**TRAINING, "topic": TRAINING["seed 1"]}
    table = tabulate_ensemble({**ENSEMBLE, "contrasts": ["size", "topic"]}, training)
    assert table
    assert [row[0] for row in table.rows[:2]] == ["size", "topic"]


def test_the_page_has_both() -> None:
    metrics = make_metrics(
        mismatched_pairs_metrics=MISMATCHED, reward_model_ensemble_metrics=ENSEMBLE
    )
    metrics["reward_model_training_metrics"] |= {"seed 1": TRAINING["seed 1"]}
    page = make_report(make_findings(metrics=metrics))
    assert "from 1,200 mismatched pairs" in page
    assert "Reward models that reward as one" in page
    assert "mismatched pairs" not in make_report(make_findings())
