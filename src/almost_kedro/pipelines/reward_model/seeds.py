"""The node that trains the reward model with more seeds: how far does chance move its figures?"""

from __future__ import annotations

from almost_kedro.evaluation.reward_report import report_seeds
from almost_kedro.feedback.mismatched import add_mismatched
from almost_kedro.feedback.splits import select_comparisons
from almost_kedro.jobs.margins import measure_margins, read_margins
from almost_kedro.options.all import Options
from almost_kedro.processes.workplace import Workplace
from almost_kedro.rows.feedback import Comparison
from almost_kedro.rows.metrics import SeedsMetrics
from almost_kedro.rows.training import MismatchedPair, PromptSplit, ScoredComparison

# Skips the seeds of the held-out reward model (+ 1) and of the as-is reward model (+ 2).
STEP = 1000


def repeat_with_seeds(
    reward_pairs: list[Comparison],
    mismatched_pairs: list[MismatchedPair],
    prompt_splits: list[PromptSplit],
    held_out_scores: list[ScoredComparison],
    options: Options,
    workplace: Workplace,
) -> SeedsMetrics:
    """Train the reward model again on the same rows with other seeds, and test each.

    A seed draws the reward head and the order of the rows. Only the report uses these models, so
    they stay in their work folders. The reward model's own accuracy comes first.
    """
    held_out = select_comparisons(reward_pairs, prompt_splits, "held_out")
    rows = add_mismatched(
        select_comparisons(reward_pairs, prompt_splits, "reward_model"),
        mismatched_pairs,
        options.reward_model.mismatched,
        options.rules,
    )
    margins = [read_margins(held_out_scores, "reward")]
    for number in range(1, options.reward_model_seeds):
        name = f"reward_model_seed_{number}"
        margins.append(
            measure_margins(name, rows, held_out, options.seed + number * STEP, options, workplace)
        )
    return report_seeds(held_out, margins, options.seed)
