"""No row, document, choice or mean takes a figure that is not finite."""

import math
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
from kedro.io import DatasetError
from kedro.io.core import Version
from made_rows import make_candidate, make_policy_answer

from almost_kedro.datasets.whole_file import FigureDataset, JSONFileDataset
from almost_kedro.errors import UserError
from almost_kedro.evaluation.best_of_n import best_of_n_curve, measure_gain
from almost_kedro.evaluation.judge import votes_from_rewards
from almost_kedro.evaluation.policy_rewards import add_rewards, compare_policies
from almost_kedro.evaluation.statistics import (
    bootstrap_difference,
    bootstrap_mean,
    bootstrap_unpaired_difference,
    estimate_mean,
    expected_calibration_error,
    reliability_curve,
)
from almost_kedro.evaluation.verdicts import read_score
from almost_kedro.feedback.self_play import keep_best
from almost_kedro.rows import evaluation as evaluation_rows
from almost_kedro.rows import feedback as rows
from almost_kedro.rows import training as training_rows
from almost_kedro.rows.validator import RowsValidator

ENDLESS = [math.nan, math.inf, -math.inf]
VALIDATORS = [
    each
    for module in (rows, training_rows, evaluation_rows)
    for each in vars(module).values()
    if isinstance(each, type) and issubclass(each, RowsValidator) and hasattr(each, "row")
]
FLOATS = [
    (validator, field)
    for validator in dict.fromkeys(VALIDATORS)
    for field, hint in get_type_hints(validator.row).items()
    if float in (hint, *get_args(hint))
]


def make_value(hint: Any) -> Any:
    """Something of a type, none if it may be none."""
    if NoneType in get_args(hint):
        return None
    if get_origin(hint) is Literal:
        return get_args(hint)[0]
    if get_origin(hint) is list:
        return []
    return {str: "a", int: 1, float: 0.5, bool: False}[hint]


def test_there_are_such_rows() -> None:
    kinds = {validator.__name__ for validator, _ in FLOATS}
    assert {"ScoredComparisons", "Candidates", "Rollouts", "SFTAnswers", "RewardVerdicts"} <= kinds
    assert {"HHHVerdicts", "MC1Verdicts", "JudgeVotes"} <= kinds


@pytest.mark.parametrize("value", ENDLESS)
@pytest.mark.parametrize(("validator", "field"), FLOATS)
def test_a_row_with_such_a_figure_is_refused_by_its_id(
    validator: type[RowsValidator], field: str, value: float
) -> None:
    good = {name: make_value(hint) for name, hint in get_type_hints(validator.row).items()}
    assert validator().validate([good]) == [good]
    bad = good | {field: value, validator.key: "this one"}
    message = f"^row 2, {field}: .*; found {value} in {validator.key} 'this one'$"
    with pytest.raises(ValueError, match=message):
        validator().validate([good, bad])


@pytest.mark.parametrize("dataset", [JSONFileDataset, FigureDataset])
@pytest.mark.parametrize("value", ENDLESS)
def test_no_document_is_saved_with_one(dataset: Any, value: float, tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    with pytest.raises(DatasetError, match=f"metrics.json: policies.sft.1 is {value}; only finite"):
        dataset(filepath=str(path)).save({"policies": {"sft": [1.0, value]}})
    assert not path.exists()


def test_no_document_is_loaded_with_one(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json/V/metrics.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"reward": {"value": NaN}}')
    dataset = JSONFileDataset(filepath=str(path.parents[1]), version=Version("V", None))
    with pytest.raises(DatasetError, match=r"V/metrics.json: NaN is no finite number; run again"):
        dataset.load()


@pytest.mark.parametrize("value", ENDLESS)
def test_self_play_keeps_nothing_by_such_a_reward(value: float) -> None:
    candidates = [make_candidate(f"c{i}", prompt_id=f"p{i // 2}") for i in range(3)]
    rewards = {"c0": 0.1, "c1": value, "c2": 0.2}
    with pytest.raises(UserError, match=f"^the reward of candidate c1 is {value}; "):
        keep_best(candidates, rewards)
    # One that rule 12 rejects has none, whatever is there.
    candidates[1]["verdict"] = "rule_12_short"
    assert [row["kept"] for row in keep_best(candidates, rewards)] == [True, False, True]


@pytest.mark.parametrize("value", ENDLESS)
@pytest.mark.parametrize("field", ["reward", "held_out_reward"])
def test_the_best_of_n_is_not_drawn_with_one(field: str, value: float) -> None:
    candidates: list[Any] = [
        make_candidate(f"c{i}", prompt_id=f"p{i // 2}", reward=1.0 * i, held_out_reward=0.0)
        for i in range(4)
    ]
    candidates[3][field] = value
    for act in (best_of_n_curve, measure_gain):
        with pytest.raises(ValueError, match="a figure of p1 is "):
            act(candidates, 0)


@pytest.mark.parametrize("value", ENDLESS)
def test_no_policy_has_one(value: float) -> None:
    answers = [make_policy_answer(f"a{i}", prompt_id=f"p{i}") for i in range(2)]
    good, bad = {"a0": 0.0, "a1": 1.0}, {"a0": 0.0, "a1": value}
    with pytest.raises(UserError, match=f"^the reward of sft's answer a1 is {value}; "):
        add_rewards(answers, bad, good)
    with pytest.raises(UserError, match=f"^the held-out reward of sft's answer a1 is {value}; "):
        add_rewards(answers, good, bad)
    rows = add_rewards(answers, good, good)
    rows[1]["reward"] = value
    with pytest.raises(ValueError, match=f"a figure of p1 is {value}"):
        compare_policies(rows, [], 0)


@pytest.mark.parametrize("value", ENDLESS)
def test_no_benchmark_or_judge_takes_one_and_none_guesses_why(value: float) -> None:
    for act in (
        lambda: read_score({"q1/a": value}, "q1/a"),
        lambda: votes_from_rewards("sft", "base", {"sft": {"q1": 0.0}, "base": {"q1": value}}),
    ):
        with pytest.raises(UserError, match=f"q1.* is {value}; only finite figures count$"):
            act()


@pytest.mark.parametrize("value", ENDLESS)
def test_no_mean_or_interval_takes_one(value: float) -> None:
    values, others, groups = [0.0, value, 1.0], [0.0, 0.0, 0.0], ["p1", "p2", "p3"]
    for act in (
        lambda: bootstrap_mean(values, groups, 0),
        lambda: estimate_mean(values, groups, 0),
        lambda: bootstrap_difference(values, others, groups, 0),
        lambda: bootstrap_difference(others, values, groups, 0),
        lambda: bootstrap_unpaired_difference(others, groups, values, groups, 0),
    ):
        with pytest.raises(ValueError, match="a figure of p2 is "):
            act()
    for measure in (reliability_curve, expected_calibration_error):
        with pytest.raises(ValueError, match=f"^a figure of pair 2 is {value}"):
            measure(values, others)
