"""The report on a reward model: its accuracy on held-out prompts, always beside the floors."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

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
from almost_kedro.rows import Comparison

Floats = NDArray[np.float64]
# Fewer pairs a bin, and chance alone fails the gate on a well-calibrated model: of 50 pairs in 10
# bins, the error is above 0.15 in 4 of 10 cases.
PAIRS_A_BIN = 20
MAX_BINS = 10
# As a share of the longer answer; narrower than the tolerance of what is compared may be.
LIKE_LENGTH = 0.18
# Log-odds beyond which nothing is surer; squares of larger ones could overflow.
MAX_MARGIN = 1e3


def report_reward_model(
    comparisons: Sequence[Comparison],
    margins: Mapping[str, float],
    train_comparisons: Sequence[Comparison],
    seed: int,
    tolerance: float = LIKE_LENGTH,
) -> dict[str, Any]:
    """Measure a reward model on comparisons of held-out prompts.

    All intervals hold with 95 %, by bootstrap over prompts. What has no pairs is left out.

    Args:
        comparisons: Held-out ones.
        margins: Reward of the chosen answer - that of the rejected one (log-odds), by
            comparison_id; 0 counts as half right.
        train_comparisons: What the reward model was trained on; the surface floor is, too.
        seed: Of the bootstrap.
        tolerance: Largest difference in characters of `length_matched`, as a share of the longer
            answer.

    Returns:
        n and n_prompts; accuracy, floors, best_floor and above_best_floor; length_matched,
        by_factor and by_edge; calibration_error, reliability, mean_margin and margin_std.

    Raises:
        ValueError: If a margin is not finite.
    """
    prompts = [row["prompt_id"] for row in comparisons]
    report: dict[str, Any] = {"n": len(comparisons), "n_prompts": len(set(prompts))}
    if not comparisons:
        return report
    margin = _collect_margins(comparisons, margins)
    wins = score_wins(margin)
    return {
        **report,
        "accuracy": _summarise(wins, prompts, seed),
        **_compare_with_floors(comparisons, wins, train_comparisons, seed),
        **_split_accuracy(comparisons, wins, seed, tolerance),
        **_measure_calibration(margin),
        "mean_margin": float(margin.mean()),
        "margin_std": float(margin.clip(-MAX_MARGIN, MAX_MARGIN).std()),
    }


def report_seeds(
    comparisons: Sequence[Comparison], margins: Sequence[Mapping[str, float]], seed: int
) -> dict[str, Any]:
    """Say how the accuracy differs between trainings that differ in their seed alone.

    Args:
        comparisons: Held-out ones.
        margins: Of each training, as for `report_reward_model`.
        seed: Of the bootstrap.

    Returns:
        n_seeds; accuracies, one a training; their mean, with its interval over prompts.
    """
    report: dict[str, Any] = {"n_seeds": len(margins)}
    if not comparisons:
        return report
    prompts = [row["prompt_id"] for row in comparisons]
    wins = np.stack([score_wins(_collect_margins(comparisons, each)) for each in margins])
    return {
        **report,
        "accuracies": wins.mean(axis=1).tolist(),
        "mean": _summarise(wins.mean(axis=0), prompts, seed),
    }


def name_edge(row: Comparison) -> str:
    """Name a comparison's edge of the rubric."""
    return f"{row['chosen_assistant']}-vs-{row['rejected_assistant']}"


def name_factors(row: Comparison) -> str:
    """Name all that a comparison's assistants differ in."""
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


def _summarise(wins: Floats, prompts: Sequence[str], seed: int) -> dict[str, float]:
    low, high = bootstrap_mean(wins, prompts, seed)
    return {"value": float(wins.mean()), "low": low, "high": high}


def _compare_with_floors(
    comparisons: Sequence[Comparison], wins: Floats, train: Sequence[Comparison], seed: int
) -> dict[str, Any]:
    prompts = [row["prompt_id"] for row in comparisons]
    floors = {
        "longer_wins": longer_wins(comparisons),
        "shorter_wins": shorter_wins(comparisons),
        "surface": surface_wins(fit_surface_model(train), comparisons),
    }
    best = max(floors, key=lambda name: floors[name].mean())
    above = bootstrap_difference(wins, floors[best], prompts, seed)
    return {
        "floors": {name: _summarise(floor, prompts, seed) for name, floor in floors.items()},
        "best_floor": best,
        "above_best_floor": {
            "difference": above.value,
            "low_one_sided": above.low_one_sided,
            "low": above.low,
            "high": above.high,
        },
    }


def _split_accuracy(
    comparisons: Sequence[Comparison], wins: Floats, seed: int, tolerance: float
) -> dict[str, Any]:
    def split(name_part: Callable[[Comparison], str]) -> dict[str, dict[str, float]]:
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

    lengths = split(
        lambda row: (
            "length_matched"
            if abs(length_difference(row["chosen"], row["rejected"])) <= tolerance
            else "other"
        )
    )
    lengths.pop("other", None)
    return {
        **lengths,
        "by_factor": split(name_factors),
        "by_edge": split(name_edge),
    }


def _measure_calibration(margin: Floats) -> dict[str, Any]:
    bins = max(1, min(MAX_BINS, len(margin) // PAIRS_A_BIN))
    # sigmoid(margin), in the form that does not overflow
    probabilities, chosen_wins = np.exp(-np.logaddexp(0, -margin)), np.ones_like(margin)
    return {
        "calibration_error": expected_calibration_error(probabilities, chosen_wins, bins),
        "reliability": reliability_curve(probabilities, chosen_wins, bins),
    }
