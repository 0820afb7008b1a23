"""What the charts show; plotly itself reads every description."""

import json
from typing import Any

import plotly.graph_objects as go
import pytest
from made_rows import make_ledger_row, make_pair, make_response

from almost_kedro.charts.feedback import (
    draw_comparisons,
    draw_ledger_waterfall,
    draw_response_lengths,
)
from almost_kedro.rows.feedback import LedgerRow, Response


def drop(rule: str) -> LedgerRow:
    return make_ledger_row(rule=rule)


def make_answer(assistant: str, length: int, verdict: str = "ok") -> Response:
    return make_response("p1", assistant, "x" * length, verdict=verdict)


def test_waterfall_goes_from_all_rows_by_rule_to_the_kept() -> None:
    rows = [drop("rule_5_too_long"), drop("rule_4_no_query"), drop("rule_5_too_long"), drop("ok")]
    (bars,) = draw_ledger_waterfall(
        [("requests", 10, rows, "prompts"), ("responses", 7, [], "usable")]
    )["data"]
    assert bars["x"] == [
        "requests",
        "rule_4_no_query",
        "rule_5_too_long",
        "prompts",
        "responses",
        "usable",
    ]
    assert bars["y"] == [10, -1, -2, 0, 7, 0]
    assert bars["measure"] == ["absolute", "relative", "relative", "total", "absolute", "total"]


def test_waterfall_leaves_out_rows_that_were_no_candidates() -> None:
    rows = [
        drop("rule_15_unusable_answer"),
        drop("rule_15_nothing_to_compare"),
        drop("matched_length"),
    ]
    (bars,) = draw_ledger_waterfall([("pairs", 5, rows, "comparisons")])["data"]
    assert bars["x"] == ["pairs", "matched_length", "comparisons"]
    assert bars["y"] == [5, -1, 0]


def test_lengths_are_those_of_usable_answers_by_assistant() -> None:
    rows = [
        make_answer("A", 60),
        make_answer("B", 5, "rule_12_short"),
        make_answer("A", 80),
        make_answer("A", 9, "rule_12_short"),
        make_answer("C", 70),
    ]
    a, b, c = draw_response_lengths(rows)["data"]
    names = ["A (2 of 3 usable)", "B (0 of 1 usable)", "C (1 of 1 usable)"]
    assert [box["name"] for box in (a, b, c)] == names
    quartiles = ("lowerfence", "q1", "median", "q3", "upperfence", "mean")
    assert [a[name] for name in quartiles] == [[60], [65], [70], [75], [80], [70]]
    assert not b.keys() & {*quartiles}
    assert [c[name] for name in quartiles] == [[70]] * 6
    assert [box.get("x") for box in (a, b, c)] == [[names[0]], None, [names[2]]]


def test_a_chart_of_many_answers_is_no_larger_than_one_of_few() -> None:
    sizes = [
        len(json.dumps(draw_response_lengths([make_answer("A", 60 + i % 9) for i in range(n)])))
        for n in (100, 10_000)
    ]
    assert sizes[1] - sizes[0] < 20


def test_sixth_assistant_takes_the_first_colour_again() -> None:
    boxes = draw_response_lengths([make_answer(name, 60) for name in "ABCDEF"])["data"]
    colours = [box["marker"]["color"] for box in boxes]
    assert len(set(colours)) == 5
    assert colours[5] == colours[0]


def test_comparisons_are_counted_by_edge_factors_and_longer_side() -> None:
    rows = [
        make_pair("c", 9, 5, "AB"),
        make_pair("c", 5, 9, "AC", factors=["size", "shots"]),
        make_pair("c", 5, 5, "AB"),
        make_pair("c", 6, 5, "AB"),
    ]
    longer, others = draw_comparisons(rows)["data"]
    assert longer["x"] == others["x"] == ["A over<br>B<br>(size)", "A over<br>C<br>(size + shots)"]
    assert (longer["name"], longer["y"]) == ("chosen is longer", [2, 0])
    assert (others["name"], others["y"]) == ("chosen is not longer", [1, 1])


@pytest.mark.parametrize(
    "figure",
    [
        draw_ledger_waterfall([("requests", 3, [drop("rule_4_no_query")], "prompts")]),
        draw_ledger_waterfall([]),
        draw_response_lengths([make_answer("A", 60), make_answer("B", 5, "rule_12_short")]),
        draw_response_lengths([]),
        draw_comparisons([make_pair("c", 9, 5, "AB")]),
        draw_comparisons([]),
    ],
)
def test_plotly_reads_the_chart_from_json(figure: dict[str, Any]) -> None:
    drawn = go.Figure(json.loads(json.dumps(figure)))
    assert drawn.layout.title.text
    assert drawn.layout.yaxis.title.text
