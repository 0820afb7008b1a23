"""Charts made ready for the page, and the same as tables."""

from typing import Any

from report_findings import SHARE, make_chart

from almost_kedro.charts.feedback import draw_ledger_waterfall, draw_response_lengths
from almost_kedro.charts.training import draw_accuracy, draw_best_of_n, draw_training_curve
from almost_kedro.pages.report.figures import (
    Figure,
    prepare_figure,
    select_panels,
    tabulate_traces,
    thin,
)
from almost_kedro.rows.feedback import LedgerRow

CURVE: list[Any] = [{"step": i, "loss": 1 / i, "kl": 0.1 * i, "epoch": i} for i in (1, 2, 4)]


def prepare(chart: dict[str, Any], **more: Any) -> Figure:
    figure = prepare_figure("name", "caption", chart, **more)
    assert figure
    return figure


def test_a_chart_loses_its_title_and_keeps_its_curve() -> None:
    chart = make_chart([1, 2], [0.5, 0.25])
    layout = prepare(chart).description["layout"]
    assert "title" not in layout
    assert "template" not in layout
    assert layout["xaxis"]["title"]["text"] == "step"
    assert layout["dragmode"] is False
    assert "title" in chart["layout"]


def test_a_chart_of_nothing_is_none() -> None:
    assert prepare_figure("name", "caption", make_chart([], [])) is None


def test_some_panels_are_chosen_in_order_under_new_names() -> None:
    chart = select_panels(draw_training_curve(CURVE, "RL"), {"kl": "KL (nats)", "loss": "loss"})
    assert [trace["name"] for trace in chart["data"]] == ["KL (nats)", "loss"]
    assert chart["layout"]["yaxis"]["title"]["text"] == "KL (nats)"
    assert chart["layout"]["yaxis2"]["title"]["text"] == "loss"
    assert chart["layout"]["xaxis"]["title"]["text"] == "step"


def test_panels_differ_without_colour() -> None:
    chart = select_panels(draw_training_curve(CURVE, "RL"), {"kl": "KL", "loss": "loss"})
    assert len({trace["line"]["dash"] for trace in chart["data"]}) == 2
    assert len({trace["marker"]["symbol"] for trace in chart["data"]}) == 2


def test_panels_that_are_not_there_are_left_out() -> None:
    figure = prepare(draw_training_curve(CURVE, "SFT"), panels={"loss": "loss", "margin": "margin"})
    assert figure.table.heads == ("", "loss")
    assert prepare_figure("n", "c", make_chart([1], [1]), {"margin": "margin"}) is None


def test_long_curves_are_thinned_and_keep_both_ends() -> None:
    trace = {"x": list(range(10_000)), "y": list(range(10_000)), "name": "a", "dash": ["one"]}
    found = thin(trace)
    assert len(found["x"]) == len(found["y"]) == 300
    assert (found["x"][0], found["x"][-1]) == (0, 9999)
    assert found["dash"] == ["one"]


def test_a_long_table_says_how_much_of_it_is_shown() -> None:
    table = tabulate_traces(make_chart(list(range(900)), [0.5] * 900)["data"], "Loss")
    assert len(table.rows) == 30
    assert table.caption == "Loss (30 of 900 rows)"
    assert table.rows[-1] == ("899", "0.5")


def test_curves_stand_side_by_side_by_step() -> None:
    table = prepare(draw_training_curve(CURVE, "RL"), panels={"loss": "loss", "kl": "KL"}).table
    assert table.heads == ("", "loss", "KL")
    assert table.rows == (("1", "1", "0.1"), ("2", "0.5", "0.2"), ("4", "0.25", "0.4"))


def test_intervals_stand_behind_values_whichever_way_they_go() -> None:
    point = {
        "n": 1,
        "reward": 0.5,
        "reward_low": 0.25,
        "reward_high": 1.0,
        "held_out_reward": 0.0,
        "held_out_low": -1.0,
        "held_out_high": 1.0,
    }
    table = prepare(draw_best_of_n([point])).table
    assert table.rows == (("1", "0.5 [0.25, 1]", "0 [-1, 1]"),)
    across = prepare(draw_accuracy({"n": 5, "accuracy": SHARE}))
    assert across.table.rows == (("all (n=5)", "0.6 [0.55, 0.65]", "-", "-", "-"),)
    assert across.wide


def test_a_waterfalls_totals_are_sums_and_repeated_rules_stay_apart() -> None:
    row: LedgerRow = {
        "row_id": "",
        "rule": "rule_6_overlap",
        "detail": "",
        "original": "",
        "corrected": "",
        "parent_ids": [],
    }
    steps = [("asked", 5, [row, row], "prompts"), ("pairs", 3, [row], "comparisons")]
    assert prepare(draw_ledger_waterfall(steps)).table.rows == (
        ("asked", "5"),
        ("rule_6_overlap", "-2"),
        ("prompts", "3"),
        ("pairs", "3"),
        ("rule_6_overlap (2)", "-1"),
        ("comparisons", "2"),
    )


def test_boxes_become_quartiles() -> None:
    rows: Any = [
        {"assistant": "a", "verdict": "ok", "text": "x" * length} for length in (10, 20, 30)
    ]
    table = prepare(draw_response_lengths(rows)).table
    assert table.rows == (("a (3 of 3 usable)", "10", "15", "20", "25", "30", "20"),)


def test_a_loss_that_diverged_is_a_gap() -> None:
    figure = prepare(make_chart([1, 2], [float("nan"), float("inf")]))
    assert figure.description["data"][0]["y"] == [None, None]
    assert figure.table.rows == (("1", "-"), ("2", "-"))
