"""The report on a reward model: its accuracy on held-out prompts, always beside the floors."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from almost_kedro.evaluation.floors import (
    fit_surface_model,
    longer_wins,
    score_wins,
    shorter_wins,
    surface_wins,
)
from almost_kedro.evaluation.statistics import (
    bootstrap_difference,
    bootstrap_mean,
    expected_calibration_error,
    reliability_curve,
)
from almost_kedro.feedback.length_control import length_difference
from almost_kedro.rows.feedback import Comparison
from almost_kedro.rows.metrics import (
    AboveFloor,
    CountedEstimate,
    Estimate,
    RewardModelMetrics,
    SeedsMetrics,
)

Floats = NDArray[np.float64]
# Fewer pairs a bin, and chance alone fails the gate on a well-calibrated model: of 50 pairs in 10
# bins, the error is above 0.15 in 4 of 10 cases.
PAIRS_A_BIN = 20
MAX_BINS = 10
# As a share of the longer answer; comparisons may have a wider tolerance.
LIKE_LENGTH = 0.18
# In log-odds. Larger margins mean no more certainty, and their squares could overflow.
MAX_MARGIN = 1e3


def report_reward_model(
    comparisons: Sequence[Comparison],
    margins: Mapping[str, float],
    train_comparisons: Sequence[Comparison],
    seed: int,
    tolerance: float = LIKE_LENGTH,
) -> RewardModelMetrics:
    """Measure a reward model on comparisons of held-out prompts.

    All intervals hold with 95 %, by bootstrap over prompts. Figures without pairs are left out.
    Raises ValueError if a margin is not finite.

    Args:
        margins: Reward of the chosen answer - that of the rejected one (log-odds), by
            comparison_id; 0 counts as half right.
        train_comparisons: Training pairs of the reward model and of the surface floor.
        tolerance: Largest length difference in `length_matched`, as a share of the longer answer.
    """
    prompts = [row["prompt_id"] for row in comparisons]
    report = RewardModelMetrics(n=len(comparisons), n_prompts=len(set(prompts)))
    if not comparisons:
        return report
    margin = _collect_margins(comparisons, margins)
    wins = score_wins(margin)
    report["accuracy"] = _summarise(wins, prompts, seed)
    floors, best, above = _compare_with_floors(comparisons, wins, train_comparisons, seed)
    report["floors"], report["best_floor"], report["above_best_floor"] = floors, best, above

    def name_length(row: Comparison) -> str:
        difference = abs(length_difference(row["chosen"], row["rejected"]))
        return "length_matched" if difference <= tolerance else "other"

    lengths = _split_accuracy(comparisons, wins, seed, name_length)
    if "length_matched" in lengths:
        report["length_matched"] = lengths["length_matched"]
    report["by_factor"] = _split_accuracy(comparisons, wins, seed, name_factors)
    report["by_edge"] = _split_accuracy(comparisons, wins, seed, name_edge)
    bins = max(1, min(MAX_BINS, len(margin) // PAIRS_A_BIN))
    # sigmoid(margin), in the form that does not overflow
    probabilities, chosen_wins = np.exp(-np.logaddexp(0, -margin)), np.ones_like(margin)
    report["calibration_error"] = expected_calibration_error(probabilities, chosen_wins, bins)
    report["reliability"] = reliability_curve(probabilities, chosen_wins, bins)
    report["mean_margin"] = float(margin.mean())
    report["margin_std"] = float(margin.clip(-MAX_MARGIN, MAX_MARGIN).std())
    return report


def report_seeds(
    comparisons: Sequence[Comparison], margins: Sequence[Mapping[str, float]], seed: int
) -> SeedsMetrics:
    """Report how the accuracy differs between trainings that differ only in their seed."""
    report = SeedsMetrics(n_seeds=len(margins))
    if not comparisons:
        return report
    prompts = [row["prompt_id"] for row in comparisons]
    wins = np.stack([score_wins(_collect_margins(comparisons, each)) for each in margins])
    report["accuracies"] = wins.mean(axis=1).tolist()
    report["mean"] = _summarise(wins.mean(axis=0), prompts, seed)
    return report


def name_edge(row: Comparison) -> str:
    """Name a comparison's edge of the rubric."""
    return f"{row['chosen_assistant']}-vs-{row['rejected_assistant']}"


def name_factors(row: Comparison) -> str:
    """Name all factors in which a comparison's assistants differ."""
    return "+".join(row["factors"])


def _collect_margins(comparisons: Sequence[Comparison], margins: Mapping[str, float]) -> Floats:
    found = np.array([margins[row["comparison_id"]] for row in comparisons], dtype=float)
    for row, margin in zip(comparisons, found, strict=True):
        if not np.isfinite(margin):
            raise ValueError(
                f"comparison {row['comparison_id']}: the margin is {margin}; "
                "only finite figures count"
            )
    return found


def _summarise(wins: Floats, prompts: Sequence[str], seed: int) -> Estimate:
    low, high = bootstrap_mean(wins, prompts, seed)
    return Estimate(value=float(wins.mean()), low=low, high=high)


def _compare_with_floors(
    comparisons: Sequence[Comparison], wins: Floats, train: Sequence[Comparison], seed: int
) -> tuple[dict[str, Estimate], str, AboveFloor]:
    prompts = [row["prompt_id"] for row in comparisons]
    floors = {
        "longer_wins": longer_wins(comparisons),
        "shorter_wins": shorter_wins(comparisons),
        "surface": surface_wins(fit_surface_model(train), comparisons),
    }
    best = max(floors, key=lambda name: floors[name].mean())
    above = bootstrap_difference(wins, floors[best], prompts, seed)
    return (
        {name: _summarise(floor, prompts, seed) for name, floor in floors.items()},
        best,
        AboveFloor(
            difference=above.value,
            low_one_sided=above.low_one_sided,
            low=above.low,
            high=above.high,
        ),
    )


def _split_accuracy(
    comparisons: Sequence[Comparison],
    wins: Floats,
    seed: int,
    name_part: Callable[[Comparison], str],
) -> dict[str, CountedEstimate]:
    places = defaultdict(list)
    for i, row in enumerate(comparisons):
        places[name_part(row)].append(i)
    return {
        name: {
            "n": len(at),
            **_summarise(wins[at], [comparisons[i]["prompt_id"] for i in at], seed),
        }
        for name, at in sorted(places.items())
    }
