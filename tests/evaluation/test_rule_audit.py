"""The rule audit, with margins that are made up."""

import json

import plotly.graph_objects as go
import pytest
from made_rows import make_pair

from almost_kedro.charts.training import draw_rule_audit
from almost_kedro.evaluation.rule_audit import (
    AuditCase,
    group_cases,
    plan_audit,
    report_audit,
    tabulate_audit,
)

# Of three assistants, A and B differ in size, B and C in shots, A and C in both.
TRAIN = [
    make_pair("t1", 50, 100, edge="AB", factors=["size"]),
    make_pair("t2", 50, 100, edge="BC", factors=["shots"]),
    make_pair("t3", 50, 100, edge="BC", factors=["shots"]),
]
UNSEEN = [
    make_pair("u1", 60, 90, edge="AB", factors=["size"]),
    make_pair("u2", 90, 60, edge="AB", factors=["size"]),
    make_pair("u3", 70, 60, edge="AB", factors=["size"]),
    make_pair("u4", 70, 60, edge="AC", factors=["size", "shots"]),
]
MARGINS = {"u1": 1.0, "u2": -1.0, "u3": 0.0, "u4": 2.0}


def find(cases: list[AuditCase], name: str) -> AuditCase:
    (case,) = [case for case in cases if case.name == name]
    return case


def ids(case: AuditCase) -> tuple[list[str], list[str]]:
    return [row["comparison_id"] for row in case.train], [row["comparison_id"] for row in case.test]


def test_each_edge_and_each_set_of_factors_is_left_out_and_then_tested() -> None:
    cases = plan_audit(TRAIN, UNSEEN)
    assert [case.key for case in cases] == [
        ("by_edge", "A-vs-B"),
        ("by_edge", "A-vs-C"),
        ("by_edge", "B-vs-C"),
        ("by_factor", "shots"),
        ("by_factor", "size"),
        ("by_factor", "size+shots"),
    ]
    assert ids(find(cases, "A-vs-B")) == (["t2", "t3"], ["u1", "u2", "u3"])
    assert ids(find(cases, "A-vs-C")) == (["t1", "t2", "t3"], ["u4"])
    assert ids(find(cases, "shots")) == (["t1"], [])


def test_one_reward_model_serves_what_is_trained_on_the_same_rows() -> None:
    groups = group_cases(plan_audit(TRAIN, UNSEEN))
    assert [[case.name for case in group] for group in groups] == [
        ["A-vs-B", "size"],
        ["A-vs-C", "size+shots"],
    ]


def test_no_reward_model_is_trained_for_what_cannot_be_tried() -> None:
    only = [row for row in TRAIN if "shots" in row["factors"]]
    assert group_cases(plan_audit(only, only)) == []
    assert group_cases(plan_audit([], UNSEEN)) == []
    assert group_cases(plan_audit(TRAIN, [])) == []


def test_agreement_stands_beside_the_floors_of_the_same_rows() -> None:
    cases = plan_audit(TRAIN, UNSEEN)
    margins = {case.key: MARGINS for group in group_cases(cases) for case in group}
    report = report_audit(cases, margins, seed=0, tolerance=0.2)
    found = report["by_edge"]["A-vs-B"]
    assert (found["n"], found["n_prompts"], found["n_trained_on"]) == (3, 3, 2)
    assert found["accuracy"]["value"] == (1 + 0 + 0.5) / 3
    assert {name: floor["value"] for name, floor in found["floors"].items()} == {
        "longer_wins": pytest.approx(2 / 3),
        "shorter_wins": pytest.approx(1 / 3),
        # In the rows that it was fitted to, the shorter answer is always the chosen one.
        "surface": pytest.approx(1 / 3),
    }
    assert found["best_floor"] == "longer_wins"
    assert found["above_best_floor"]["difference"] == pytest.approx(1.5 / 3 - 2 / 3)
    # Of 70 and 60 characters, 10 are 1/7 of the longer.
    assert (found["length_matched"]["n"], found["length_matched"]["value"]) == (1, 0.5)
    assert report["by_factor"]["size"] == found


def test_intervals_are_by_prompt() -> None:
    unseen = [make_pair(str(i), prompt_id="p") for i in range(4)]
    cases = plan_audit([*TRAIN], unseen)
    margins = {case.key: {"0": 1.0, "1": 1.0, "2": 1.0, "3": -1.0} for case in cases}
    report = report_audit(cases, margins, seed=0, tolerance=0.1)
    assert report["by_edge"]["A-vs-B"]["accuracy"] == {"value": 0.75, "low": 0.75, "high": 0.75}


def test_what_cannot_be_tried_says_why() -> None:
    train, unseen = TRAIN[1:], [*UNSEEN[:1], make_pair("u5", edge="BC", factors=["shots"])]
    cases = plan_audit(train, unseen)
    margins = {case.key: MARGINS for group in group_cases(cases) for case in group}
    report = report_audit(cases, margins, seed=0, tolerance=0.1)
    assert report["by_edge"]["B-vs-C"] == {
        "n_trained_on": 0,
        "n": 1,
        "note": "not tested: nothing is left to train on",
    }
    (untested,) = report_audit(plan_audit(TRAIN[:1], []), {}, 0, 0.1)["by_edge"].values()
    assert untested["note"] == "not tested: no comparisons of unseen prompts"


def test_table_has_a_line_a_rule() -> None:
    cases = plan_audit(TRAIN, UNSEEN)
    margins = {case.key: MARGINS for group in group_cases(cases) for case in group}
    lines = tabulate_audit(report_audit(cases, margins, seed=0, tolerance=0.2))
    assert len(lines) == 2 + 6
    assert lines[2].split() == [
        *["0.50", "(0.00", "to", "1.00)", "0.67", "longer", "wins", "3", "2", "A-vs-B"]
    ]
    assert lines[4] == ("  not tested: no comparisons of unseen prompts     0           1  B-vs-C")


def test_chart_has_agreement_and_best_floor_of_each_rule_side_by_side() -> None:
    cases = plan_audit(TRAIN, UNSEEN)
    margins = {case.key: MARGINS for group in group_cases(cases) for case in group}
    chart = draw_rule_audit(report_audit(cases, margins, seed=0, tolerance=0.2))
    agreement, floors = chart["data"]
    names = ["A<br>over B (n=3)", "A<br>over C (n=1)", "size (n=3)", "size+shots (n=1)"]
    assert agreement["y"] == floors["y"] == names
    assert agreement["x"] == [0.5, 1.0, 0.5, 1.0]
    assert floors["x"] == [pytest.approx(2 / 3), 1.0, pytest.approx(2 / 3), 1.0]
    assert agreement["marker"]["symbol"] != floors["marker"]["symbol"]
    assert go.Figure(json.loads(json.dumps(chart, allow_nan=False))).layout.scattermode == "group"


def test_an_audit_of_nothing_is_drawn_and_printed() -> None:
    empty = report_audit(plan_audit([], []), {}, seed=0, tolerance=0.1)
    assert empty == {"by_edge": {}, "by_factor": {}}
    go.Figure(draw_rule_audit(empty))
    assert len(tabulate_audit(empty)) == 2
