"""The node that trains the reward model with more seeds: how far does chance move its figures?"""

from __future__ import annotations

from almost_kedro.evaluation.reward_report import report_seeds
from almost_kedro.feedback.splits import select_comparisons
from almost_kedro.jobs.margins import measure_margins, score_margins
from almost_kedro.jobs.reward_models import STEP, make_score_job, name_seed
from almost_kedro.models.checkpoints import Checkpoint
from almost_kedro.options.all import Options
from almost_kedro.pipelines.reward_model.nodes import select_training_rows
from almost_kedro.processes.workplace import Workplace
from almost_kedro.rows.feedback import Comparison
from almost_kedro.rows.metrics import SeedsMetrics
from almost_kedro.rows.training import MismatchedPair, PromptSplit


def repeat_with_seeds(
    reward_pairs: list[Comparison],
    mismatched_pairs: list[MismatchedPair],
    prompt_splits: list[PromptSplit],
    reward_model: Checkpoint,
    options: Options,
    workplace: Workplace,
) -> SeedsMetrics:
    """Train the reward model again on the same rows with other seeds, and test each.

    A seed draws the reward head and the order of the rows. Members of an ensemble are the first
    ones; only the report uses the others, so they stay in their work folders. The reward model's
    own accuracy comes first, also where it rewards together with others.
    """
    held_out = select_comparisons(reward_pairs, prompt_splits, "held_out")
    rows = select_training_rows(
        "reward_model", reward_pairs, mismatched_pairs, prompt_splits, options
    )
    # Scored before: the work folder has it.
    own = make_score_job(reward_model, options, workplace)
    margins = [score_margins(own, held_out, options.rules)]
    for number in range(1, options.reward_model_seeds):
        seed = options.seed + number * STEP
        margins.append(measure_margins(name_seed(number), rows, held_out, seed, options, workplace))
    return report_seeds(held_out, margins, options.seed)
