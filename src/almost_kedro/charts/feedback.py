"""Charts of the synthetic feedback, as plotly descriptions (plain dicts; nothing is drawn here)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

import numpy as np

from almost_kedro.charts.style import BLUE, GREEN, ORANGE, PALETTE, Plot, figure
from almost_kedro.feedback.comparisons import NOT_CANDIDATES
from almost_kedro.feedback.ledger import KEPT
from almost_kedro.rows.feedback import Comparison, LedgerRow, Response


def draw_ledger_waterfall(
    steps: Sequence[tuple[str, int, Sequence[LedgerRow], str]],
) -> Plot:
    """Draw how many rows each step started with, what each rule dropped, and what was left.

    Args:
        steps: What a step starts with, how many, its ledger, and what the kept rows are called.
    """
    x: list[str] = []
    y: list[int] = []
    measure: list[str] = []
    for name, start, ledger, kept in steps:
        drops = Counter(row["rule"] for row in ledger if row["rule"] not in (KEPT, *NOT_CANDIDATES))
        bars = [(name, start, "absolute")]
        bars += [(rule, -n, "relative") for rule, n in sorted(drops.items())]
        bars += [(kept, 0, "total")]
        for label, value, kind in bars:
            x.append(label)
            y.append(value)
            measure.append(kind)
    waterfall = {
        "type": "waterfall",
        "x": x,
        "y": y,
        "measure": measure,
        "texttemplate": "%{delta}",
        "textposition": "outside",
        "cliponaxis": False,
        "increasing": {"marker": {"color": BLUE}},
        "decreasing": {"marker": {"color": ORANGE}},
        "totals": {"marker": {"color": GREEN}},
        # A line to the next bar would join the end of one step to the start of another.
        "connector": {"visible": False},
    }
    return figure([waterfall], "Rows kept and dropped, by rule", "", "rows")


def draw_response_lengths(responses: Sequence[Response]) -> Plot:
    """Draw the length of usable answers by assistant; whiskers reach the shortest and longest.

    The chart has quartiles instead of lengths: a browser does not take a million of those.
    """
    lengths: Mapping[str, list[int]] = defaultdict(list)
    answers: Counter[str] = Counter()
    for row in responses:
        answers[row["assistant"]] += 1
        if row["verdict"] == KEPT:
            lengths[row["assistant"]].append(len(row["text"]))
    labels = {name: f"{name} ({len(lengths[name])} of {n} usable)" for name, n in answers.items()}
    boxes = [
        {
            "type": "box",
            "name": label,
            **_draw_quartiles(label, lengths[name]),
            "boxmean": True,
            "marker": {"color": PALETTE[i % len(PALETTE)]},
        }
        for i, (name, label) in enumerate(labels.items())
    ]
    chart = figure(boxes, "Length of usable answers, by assistant", "", "characters")
    chart["layout"]["showlegend"] = False
    return chart


def _draw_quartiles(label: str, values: Sequence[int]) -> dict[str, list[Any]]:
    if not values:
        return {"y": []}
    names = ("lowerfence", "q1", "median", "q3", "upperfence")
    found = np.percentile(values, [0, 25, 50, 75, 100]).tolist()
    quartiles = {name: [value] for name, value in zip(names, found, strict=True)}
    # Plotly puts boxes without `x` on top of one another.
    return {"x": [label], **quartiles, "mean": [mean(values)]}


def draw_comparisons(comparisons: Sequence[Comparison]) -> Plot:
    """Draw the number of comparisons by edge and factor, and how often the chosen one is longer."""
    longer: Mapping[tuple[str, str], list[bool]] = defaultdict(list)
    for row in comparisons:
        edge = f"{row['chosen_assistant']} over<br>{row['rejected_assistant']}"
        factors = " + ".join(row["factors"])
        longer[edge, factors].append(len(row["chosen"]) > len(row["rejected"]))
    edges = [f"{edge}<br>({factors})" for edge, factors in longer]
    bars = [
        {
            "type": "bar",
            "name": name,
            "x": edges,
            "y": [sum(value is kind for value in values) for values in longer.values()],
            "texttemplate": "%{y}",
            # White on blue; ink on thin stripes.
            "insidetextfont": {"color": ink},
            "marker": {"color": color, "pattern": {"shape": shape, "solidity": 0.15}},
        }
        for name, kind, color, shape, ink in (
            ("chosen is longer", True, BLUE, "", "#fff"),
            ("chosen is not longer", False, ORANGE, "/", "#1a1a1a"),
        )
    ]
    chart = figure(bars, "Comparisons by edge and factor", "", "comparisons")
    chart["layout"]["barmode"] = "stack"
    return chart
