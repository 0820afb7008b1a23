"""All models side by side on a benchmark: accuracies with intervals, floors, paired differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from almost_kedro.evaluation.benchmark_records import BENCHMARKS
from almost_kedro.evaluation.stages import BASE, COMPARED
from almost_kedro.evaluation.statistics import bootstrap_difference, estimate_mean, show_share
from almost_kedro.evaluation.verdicts import summarise_verdicts
from almost_kedro.rows.evaluation import Outcome, Source
from almost_kedro.rows.evaluation_metrics import (
    BenchmarkReport,
    EvaluationMetrics,
    Measured,
    MeasuredGroup,
    QuestionsReport,
)
from almost_kedro.rows.metrics import Estimate, PairedDifference

# Reward models, and the floor that each is compared with.
READERS = (("reward_model", "longer_wins"), ("held_out_reward_model", "longer_wins"))
# From this share on, a model goes by the letter and not by what stands behind it.
MOSTLY = 0.5


def report_benchmark(
    source: Source,
    models: Mapping[str, Sequence[Outcome]],
    floors: Mapping[str, Sequence[Outcome]],
    seed: int,
) -> BenchmarkReport:
    """Measure models on the same items, beside judges that read nothing (`floors`).

    The base model is among the `models`, and a floor, too. Intervals hold with 95 %, over items.
    """
    rows = {**models, **floors}
    return BenchmarkReport(
        source=source,
        n=len(next(iter(rows.values()))),
        models={name: measure(found, seed) for name, found in models.items()},
        floors={name: measure(found, seed) for name, found in floors.items()},
        differences={
            f"{new}-vs-{old}": compare(rows[new], rows[old], seed)
            for new, old in (*COMPARED, *READERS)
            if new in rows and old in rows
        },
    )


def measure(rows: Sequence[Outcome], seed: int, group: str = "item_id") -> Measured:
    """Return counts, the share that is right, and the accuracy, of all items and by category.

    `group` is the field that the bootstrap draws by.
    """
    groups: dict[str, list[Outcome]] = {}
    for row in rows:
        groups.setdefault(row["category"], []).append(row)
    by_category = {
        name: _measure_group(found, seed, group) for name, found in groups.items() if name
    }
    return {**_measure_group(rows, seed, group), "by_category": by_category}


def _measure_group(rows: Sequence[Outcome], seed: int, group: str) -> MeasuredGroup:
    counts = summarise_verdicts(rows)["all"]
    accuracy = estimate_mean([row["hit"] for row in rows], _list_groups(rows, group), seed)
    assert accuracy is not None
    return {**counts, "accuracy": accuracy}


def _list_groups(rows: Sequence[Outcome], group: str) -> list[str]:
    return [row[group] for row in rows]  # type: ignore[literal-required]


def compare(
    new: Sequence[Outcome], old: Sequence[Outcome], seed: int, group: str = "item_id"
) -> PairedDifference:
    """Return the difference in accuracy; raise ValueError if the items are not the same.

    `group` is the field that the bootstrap draws by.
    """
    ids = [row["item_id"] for row in new]
    hits = {row["item_id"]: row["hit"] for row in old}
    if hits.keys() != set(ids):
        raise ValueError("only verdicts on the same items can be compared")
    a, b = [row["hit"] for row in new], [hits[id_] for id_ in ids]
    return bootstrap_difference(a, b, _list_groups(new, group), seed).to_dict()


def list_results(evaluation: EvaluationMetrics) -> list[tuple[str, bool, list[Estimate | None]]]:
    """List the models, then the floors: name, whether it is a floor, and figures.

    They are the accuracy on each benchmark and the win rate against the base model, or None.
    """
    questions = evaluation["questions"]
    reports = [each.find_report(evaluation) for each in BENCHMARKS]
    wins = read_win_rates(questions)
    models, floors = [each["models"] for each in reports], [each["floors"] for each in reports]
    return [
        *(
            (name, False, [*_read_accuracies(models, name), wins.get(name)])
            for name in dict.fromkeys([*questions["models"], *models[0]])
        ),
        *((name, True, [*_read_accuracies(floors, name), None]) for name in floors[0]),
    ]


def _read_accuracies(groups: Sequence[Mapping[str, Measured]], name: str) -> list[Estimate | None]:
    return [group[name]["accuracy"] if name in group else None for group in groups]


def read_win_rates(report: QuestionsReport) -> dict[str, Estimate]:
    """Return the win rates against the base model, by model; models without one are left out."""
    return {
        card["model_a"]: card["win_rate"]
        for card in report["cards"].values()
        if card["model_b"] == BASE and card["win_rate"]
    }


def read_flips(report: BenchmarkReport) -> dict[str, float]:
    """Return by model how often it gives the same letter in both orders, if there are orders."""
    bias = report.get("position_bias", {})
    return {name: found["flips"]["value"] for name, found in bias.items()}


def find_silence(report: BenchmarkReport, policies: tuple[str, str]) -> str:
    """Say why a benchmark tells nothing of two policies; nothing if it does.

    Several measures of two policies at chance differ by accident sooner or later.
    """
    flips = read_flips(report)
    if any(flips.get(name, 0) >= MOSTLY for name in policies):
        return "by the letter"
    chance = report["floors"]["chance"]["accuracy"]["value"]
    lows = [report["models"][name]["accuracy"]["low"] for name in policies]
    return "neither is above chance" if all(low <= chance for low in lows) else ""


def show_judge(report: QuestionsReport) -> str:
    """Say who judged the open questions, and, where it was measured, what its word is worth."""
    worth = report.get("judge_worth")
    if worth is None:
        return report["judge"]
    return (
        f"{report['judge']}, right in {show_share(worth['accuracy'])} of {worth['n']} HHH pairs, "
        f"of another opinion in the other order in {worth['flip_rate']['value']:.0%}, "
        f"with {worth['letter_mass']:.0%} of its probability on letters"
    )


def count_invalid_votes(report: QuestionsReport) -> tuple[int, int]:
    """Return the number of the judge's invalid votes, and of all its votes."""
    cards = report["cards"].values()
    votes = sum(card.get("n_votes", 0) for card in cards)
    return votes - sum(card.get("n_valid", 0) for card in cards), votes


def show_invalid_votes(report: QuestionsReport) -> str:
    """Write how many of the judge's votes are invalid; nothing if all are valid."""
    invalid, votes = count_invalid_votes(report)
    return f"{invalid} of {votes} votes ({invalid / votes:.0%}) are invalid" if invalid else ""
