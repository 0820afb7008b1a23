"""The card of a reward model: what it rewards, how to read it, and how far it can be trusted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from almost_kedro.evaluation.statistics import show_share
from almost_kedro.pages.cards import UNKNOWN, fill_card
from almost_kedro.pages.report.numbers import show_name
from almost_kedro.pages.table import Table
from almost_kedro.rows.metrics import GateResult, RewardModelMetrics

HELD_OUT = "held_out_reward_model"


def write_reward_card(
    manifest: Mapping[str, Any],
    version: str,
    license_id: str,
    entry: Mapping[str, Any],
    metrics: RewardModelMetrics,
    gate: GateResult | None,
) -> str:
    """Write the card of a reward model.

    Args:
        manifest: Of its checkpoint.
        version: Of its checkpoint.
        license_id: What it is published under.
        entry: Of its base model in models.yml; empty if it has none.
        metrics: On held-out comparisons.
        gate: None for the held-out reward model, which has none.
    """
    head = {
        "license": license_id,
        **({"base_model": entry["id"]} if entry.get("source") == "hub" else {}),
        "library_name": "transformers",
        "pipeline_tag": "text-classification",
        "tags": ["trl", "reward-trainer", "reward-model", "alignment", "synthetic-feedback"],
    }
    measured = bool(metrics["n"])
    return fill_card(
        "reward_model_card.md",
        head,
        title=show_name(str(manifest["name"])).capitalize(),
        base=manifest["base"]["name"],
        license=entry.get("license") or UNKNOWN,
        bos=bool(entry.get("bos")),
        held_out=manifest["name"] == HELD_OUT,
        manifest=manifest,
        version=version,
        metrics=metrics,
        accuracy=show_share(metrics["accuracy"]) if measured else "",
        figures=tabulate_judges(metrics) if measured else None,
        above=show_gain(metrics) if measured else "",
        gate=gate,
    )


def tabulate_judges(metrics: RewardModelMetrics) -> Table:
    """Write the accuracy beside those of the floors."""
    floors = metrics["floors"].items()
    rows = [("reward model", show_share(metrics["accuracy"]))]
    rows += [(f"floor: {show_name(name)}", show_share(found)) for name, found in floors]
    if matched := metrics.get("length_matched"):
        rows.append((f"reward model, {matched['n']} pairs of like length", show_share(matched)))
    return Table("", ("judge", "right, with 95 % interval"), rows)


def show_gain(metrics: RewardModelMetrics) -> str:
    """Write the difference to the best floor in points."""
    above = metrics["above_best_floor"]
    low, high = 100 * above["low"], 100 * above["high"]
    points = f"{100 * above['difference']:+.1f} points [{low:+.1f}, {high:+.1f}]"
    return f"{points} ({show_name(metrics['best_floor'])})"
