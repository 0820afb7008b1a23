"""All models side by side on a benchmark: accuracies with intervals, floors, paired differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from almost_kedro.evaluation.benchmarks import Source
from almost_kedro.evaluation.statistics import bootstrap_difference, estimate_mean
from almost_kedro.evaluation.verdicts import Outcome, summarise_verdicts

# What is compared on the same items: the new one, then the old one.
STEPS = (
    ("prompted", "base"),
    ("sft", "base"),
    ("sft", "prompted"),
    ("rl", "sft"),
    ("rl", "base"),
)
READERS = (("reward_model", "longer_wins"), ("held_out_reward_model", "longer_wins"))


def report_benchmark(
    source: Source,
    models: Mapping[str, Sequence[Outcome]],
    floors: Mapping[str, Sequence[Outcome]],
    seed: int,
) -> dict[str, Any]:
    """Measure models on the same items, beside judges that read nothing.

    All intervals hold with 95 %, by bootstrap over items.

    Args:
        source: Where the items are from.
        models: Each model's verdicts; the base model is a floor of its own.
        floors: Those of judges that read nothing.
        seed: Of the bootstrap.

    Returns:
        `source`; `n`, the items used; `models` and `floors` by name (see `measure`); `differences`
        in accuracy by "new-vs-old", with interval and one-sided bound: from step to step, and of
        the reward models over "longer wins".
    """
    rows = {**models, **floors}
    return {
        "source": source,
        "n": len(next(iter(rows.values()))),
        "models": {name: measure(found, seed) for name, found in models.items()},
        "floors": {name: measure(found, seed) for name, found in floors.items()},
        "differences": {
            f"{new}-vs-{old}": compare(rows[new], rows[old], seed)
            for new, old in (*STEPS, *READERS)
            if new in rows and old in rows
        },
    }


def measure(rows: Sequence[Outcome], seed: int) -> dict[str, Any]:
    """Return counts, the share that is right and the accuracy with its interval, and by category.

    Args:
        rows: One verdict an item.
        seed: Of the bootstrap.
    """
    groups: dict[str, list[Outcome]] = {}
    for row in rows:
        groups.setdefault(row["category"], []).append(row)
    by_category = {name: _measure_group(group, seed) for name, group in groups.items() if name}
    return {**_measure_group(rows, seed), "by_category": by_category}


def _measure_group(rows: Sequence[Outcome], seed: int) -> dict[str, Any]:
    counts = summarise_verdicts(rows)["all"]
    ids = [row["item_id"] for row in rows]
    return {**counts, "accuracy": estimate_mean([row["hit"] for row in rows], ids, seed)}


def compare(new: Sequence[Outcome], old: Sequence[Outcome], seed: int) -> dict[str, float]:
    """Return the difference in accuracy on the same items, with its intervals.

    Raises:
        ValueError: If the items are not the same.
    """
    ids = [row["item_id"] for row in new]
    hits = {row["item_id"]: row["hit"] for row in old}
    if hits.keys() != set(ids):
        raise ValueError("only verdicts on the same items can be compared")
    a, b = [row["hit"] for row in new], [hits[id_] for id_ in ids]
    return bootstrap_difference(a, b, ids, seed)._asdict()


def read_win_rates(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return the win rates against the base model, by model; what has none is left out.

    Args:
        report: `evaluation_metrics["questions"]`.
    """
    return {
        card["model_a"]: card["win_rate"]
        for card in report["cards"].values()
        if card["model_b"] == "base" and card["win_rate"]
    }


def count_invalid_votes(report: Mapping[str, Any]) -> tuple[int, int]:
    """Return how many of the judge's votes are invalid, and how many there are.

    Args:
        report: `evaluation_metrics["questions"]`.
    """
    cards = report["cards"].values()
    votes, valid = (sum(card.get(name, 0) for card in cards) for name in ("n_votes", "n_valid"))
    return votes - valid, votes


def show_invalid_votes(report: Mapping[str, Any]) -> str:
    """Write how many of the judge's votes are invalid; nothing if all are valid.

    Args:
        report: `evaluation_metrics["questions"]`.
    """
    invalid, votes = count_invalid_votes(report)
    return f"{invalid} of {votes} votes ({invalid / votes:.0%}) are invalid" if invalid else ""
