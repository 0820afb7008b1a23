"""Nodes that pair chosen answers with answers to other prompts, and test reward models on them."""

from __future__ import annotations

from almost_kedro.evaluation.mismatched_report import report_mismatched
from almost_kedro.feedback.mismatched import build_mismatched_answers, draw_mismatched
from almost_kedro.jobs.margins import JUDGES
from almost_kedro.jobs.reward_models import make_judges
from almost_kedro.jobs.score import score_by_all
from almost_kedro.models.checkpoints import Checkpoint
from almost_kedro.options.all import Options
from almost_kedro.processes.workplace import Workplace
from almost_kedro.rows.feedback import Comparison
from almost_kedro.rows.metrics import MismatchedMetrics
from almost_kedro.rows.training import MismatchedPair, PromptSplit, ScoredComparison


def draw_mismatched_pairs(
    reward_pairs: list[Comparison], prompt_splits: list[PromptSplit], options: Options
) -> list[MismatchedPair]:
    """Pair each comparison's chosen answer with answers to other prompts; none if that is off.

    Those of held-out prompts are for testing.
    """
    wanted = options.reward_model.mismatched
    if wanted is None:
        return []
    return draw_mismatched(reward_pairs, prompt_splits, wanted, options.seed)


def measure_mismatched(
    mismatched_pairs: list[MismatchedPair],
    held_out_scores: list[ScoredComparison],
    reward_model: Checkpoint,
    held_out_reward_model: Checkpoint,
    options: Options,
    workplace: Workplace,
) -> MismatchedMetrics:
    """Ask both reward models which answer belongs to a held-out prompt."""
    wanted = options.reward_model.mismatched
    if wanted is None or not mismatched_pairs:
        return {"n_pairs": 0}
    scored = {row["comparison_id"]: row for row in held_out_scores}
    tested = [pair for pair in mismatched_pairs if pair["comparison_id"] in scored]
    judges = make_judges((reward_model, held_out_reward_model), options, workplace)
    found = score_by_all(judges, build_mismatched_answers(tested, options.rules))
    margins: dict[str, dict[str, float]] = {
        judge: {
            pair["mismatched_id"]: scored[pair["comparison_id"]][f"{judge}_chosen"]  # type: ignore[literal-required]
            - rewards[pair["mismatched_id"]]
            for pair in tested
        }
        for judge, (rewards, _) in zip(JUDGES, found, strict=True)
    }
    report = report_mismatched(mismatched_pairs, margins, wanted, options.seed)
    report["cost"] = {judge: cost for judge, (_, cost) in zip(JUDGES, found, strict=True)}
    return report
