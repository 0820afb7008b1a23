"""The report on contrasts: what each teaches a reward model, beside the floors and on HHH."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from statistics import pstdev
from typing import Any

from almost_kedro.evaluation.hhh import score_hhh_floors, score_hhh_rewards
from almost_kedro.evaluation.model_report import compare, measure
from almost_kedro.evaluation.reward_report import report_reward_model
from almost_kedro.evaluation.rule_audit import select_shown
from almost_kedro.evaluation.statistics import show_share
from almost_kedro.rows.evaluation import PairItem
from almost_kedro.rows.feedback import Comparison
from almost_kedro.rows.metrics import Estimate


def report_contrast(
    train: Sequence[Comparison],
    test: Sequence[Comparison],
    margins: Mapping[str, float],
    hhh_items: Sequence[PairItem],
    rewards: Mapping[str, float],
    seed: int,
) -> dict[str, Any]:
    """Measure the reward model of one contrast.

    Args:
        train: What it was trained on.
        test: Comparisons of held-out prompts.
        margins: Of `test`, reward of chosen - that of rejected (log-odds), by comparison_id.
        rewards: Of both answers of each HHH item (log-odds), by the ids of `build_hhh_answers`.

    Returns:
        n_trained_on; n, accuracy, floors and so on, as in `report_reward_model`; `hhh`, with
            accuracy, by_category and the paired difference from "longer wins".
    """
    full = report_reward_model(test, margins, train, seed)
    verdicts, _ = score_hhh_rewards(hhh_items, rewards)
    longer, _ = score_hhh_floors(hhh_items)["longer_wins"]
    return {
        **select_shown(full, train),
        "hhh": {**measure(verdicts, seed), "above_longer_wins": compare(verdicts, longer, seed)},
    }


def report_averages(
    hhh_items: Sequence[PairItem], rewards: Mapping[str, Mapping[str, float]], seed: int
) -> dict[str, Estimate]:
    """Measure the averaged rewards of each two reward models on static HHH.

    Two that teach different things are better together than either. `rewards` are by the contrast's
    name, as in `report_contrast`. Each model's are divided by their standard deviation: log-odds of
    two trainings have no common scale.

    Returns accuracies by "one + other", the highest first.
    """
    found: dict[str, Estimate] = {}
    for one, other in combinations(rewards, 2):
        scales = {name: pstdev(rewards[name].values()) or 1.0 for name in (one, other)}
        averaged = {
            id_: sum(rewards[name][id_] / scales[name] for name in scales) / 2
            for id_ in rewards[one]
        }
        verdicts, _ = score_hhh_rewards(hhh_items, averaged)
        found[f"{one} + {other}"] = measure(verdicts, seed)["accuracy"]
    return dict(sorted(found.items(), key=lambda item: -item[1]["value"]))


def tabulate_averages(averages: Mapping[str, Any], limit: int = 5) -> list[str]:
    """Return the `limit` highest as lines of text; chance alone makes some of many high."""
    if not averages:
        return []
    shown = dict(list(averages.items())[:limit])
    title = f"static HHH by two reward models' averaged rewards, {len(shown)} of {len(averages)}"
    return [title, *(f"  {show_share(found):21}  {name}" for name, found in shown.items())]


def tabulate_contrasts(report: Mapping[str, Any]) -> list[str]:
    """Return the report as lines of text."""
    lines = ["contrasts: what a reward model learns from each alone (95 %)"]
    head = f"{'held-out pairs':21}  {'best floor':18}  {'n':>5}  {'trained on':>10}"
    lines.append(f"  {head}  {'static HHH':21}  contrast")
    for name, found in report.items():
        counts = f"{found['n']:5}  {found['n_trained_on']:10}"
        if "note" in found:
            lines.append(f"  {found['note']:41}  {counts}  {'':21}  {name}")
            continue
        best = found["best_floor"]
        floor = f"{found['floors'][best]['value']:.1%} {best.replace('_', ' ')}"
        hhh = show_share(found["hhh"]["accuracy"])
        lines.append(
            f"  {show_share(found['accuracy']):21}  {floor:18}  {counts}  {hhh:21}  {name}"
        )
    return lines
