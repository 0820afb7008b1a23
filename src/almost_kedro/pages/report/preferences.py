"""Who prefers the right answer: a table for each preference set."""

from __future__ import annotations

from collections.abc import Mapping

from almost_kedro.evaluation.stages import NAMES
from almost_kedro.pages.report.numbers import drop_prefix, show_edge, show_estimate, show_name
from almost_kedro.pages.table import Table
from almost_kedro.rows.evaluation_metrics import Measured, MeasuredGroup, PreferenceReport

ALL = "all"


def tabulate_preferences(sets: Mapping[str, PreferenceReport], model: str = "") -> list[Table]:
    """Put all judges of a set side by side, with the floors: in all, and by subset.

    `model` is the one that all assistants share: edges of the rubric are shown without it.
    """
    prefix = f"{model}-" if model else ""
    return [_tabulate(name, drop_prefix(found, prefix)) for name, found in sets.items()]


def _tabulate(name: str, report: PreferenceReport) -> Table:
    judges = {**report["models"], **report["floors"]}
    first = next(iter(judges.values()))
    subsets = first["by_category"]
    # One subset is the whole.
    shown = [None, *subsets] if len(subsets) > 1 else [None]
    rows = [
        (
            ALL if subset is None else show_edge(subset),
            f"{_pick(first, subset)['n']:,}",
            *(show_estimate(_pick(each, subset)["accuracy"]) for each in judges.values()),
        )
        for subset in shown
    ]
    heads = (
        "subset",
        "items",
        *(_name_judge(judge) for judge in report["models"]),
        *(f"floor: {show_name(floor)}" for floor in report["floors"]),
    )
    prompts = f"{report['n_prompts']:,} prompts"
    source = report.get("source")
    place = source["location"] if source else "the run's own comparisons of held-out prompts"
    return Table(f"{show_name(name)}: {report['n']:,} items of {prompts} ({place})", heads, rows)


def _name_judge(name: str) -> str:
    """Say by what a policy judges; a reward model's name says it."""
    return f"{name}, implicit reward" if name in NAMES else show_name(name)


def _pick(judge: Measured, subset: str | None) -> MeasuredGroup:
    return judge if subset is None else judge["by_category"][subset]
