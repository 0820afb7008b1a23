"""All models side by side, with figures worked out by hand."""

import pytest
from made_rows import make_source, make_verdict

from almost_kedro.evaluation.model_report import compare, measure, read_win_rates, report_benchmark
from almost_kedro.rows.evaluation import RewardVerdict

SOURCE = make_source()


def make_rows(*hits: float, category: str = "helpful") -> list[RewardVerdict]:
    return [make_verdict(f"hhh-{i}", hit, category=category) for i, hit in enumerate(hits)]


def test_a_model_is_measured_by_hand() -> None:
    found = measure(make_rows(1, 1, 0.5, 0), seed=0)
    assert (found["n_right"], found["n_wrong"], found["n_ties"]) == (2, 1, 1)
    assert found["share_right"] == 0.5
    assert found["accuracy"]["value"] == 0.625
    assert found["accuracy"]["low"] < 0.625 < found["accuracy"]["high"]
    assert found["by_category"]["helpful"]["accuracy"] == found["accuracy"]


def test_a_benchmark_without_categories_has_none() -> None:
    assert measure(make_rows(1, 0, category=""), seed=0)["by_category"] == {}


def test_a_judge_that_is_right_in_half_of_each_item_has_no_width() -> None:
    assert measure(make_rows(0.5, 0.5, 0.5), seed=0)["accuracy"] == {
        "value": 0.5,
        "low": 0.5,
        "high": 0.5,
    }


def test_differences_are_paired_by_item_whatever_the_order() -> None:
    new, old = make_rows(1, 0, 1, 1), make_rows(0, 0, 0, 0.5)
    found = compare(new, old[::-1], seed=0)
    assert found["value"] == (1 + 0 + 1 + 0.5) / 4
    assert found == compare(new, old, seed=0)
    assert 0 < found["low"] <= found["low_one_sided"] <= found["value"] <= found["high"] <= 1


def test_verdicts_on_other_items_are_not_compared() -> None:
    with pytest.raises(ValueError, match="on the same items"):
        compare(make_rows(1, 1), make_rows(1), seed=0)


def test_steps_are_compared_and_reward_models_with_what_reads_nothing() -> None:
    rows = make_rows(1, 0, 1)
    report = report_benchmark(
        SOURCE,
        {"base": rows, "sft": rows, "rl": rows, "reward_model": make_rows(1, 1, 1)},
        {"chance": make_rows(0.5, 0.5, 0.5), "longer_wins": make_rows(0, 0, 1)},
        seed=0,
    )
    assert report["source"] == SOURCE
    assert report["n"] == 3
    assert list(report["floors"]) == ["chance", "longer_wins"]
    assert {name: found["value"] for name, found in report["differences"].items()} == {
        "sft-vs-base": 0,
        "rl-vs-sft": 0,
        "rl-vs-base": 0,
        "reward_model-vs-longer_wins": pytest.approx(2 / 3),
    }


def test_the_same_seed_gives_the_same_report() -> None:
    rows = {"base": make_rows(1, 0, 1, 0.5), "sft": make_rows(0, 1, 1, 1)}
    assert report_benchmark(SOURCE, rows, {}, 1) == report_benchmark(SOURCE, rows, {}, 1)


def test_win_rates_are_those_against_the_base_model() -> None:
    win = {"value": 0.7, "low": 0.6, "high": 0.8}
    cards = [("sft", "base", win), ("rl", "sft", win), ("rl", "base", None)]
    questions = {
        "cards": {
            f"{a}-vs-{b}": {"model_a": a, "model_b": b, "win_rate": rate} for a, b, rate in cards
        }
    }
    assert read_win_rates(questions) == {"sft": win}
