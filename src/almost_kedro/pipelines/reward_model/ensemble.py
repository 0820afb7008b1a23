"""The node that says what reward models gain by rewarding together."""

from __future__ import annotations

from almost_kedro.evaluation.ensemble_report import report_ensemble
from almost_kedro.feedback.reward_rows import build_answer_rows
from almost_kedro.feedback.splits import select_comparisons
from almost_kedro.jobs.reward_models import make_scorer
from almost_kedro.jobs.score import Ensemble, score_by_jobs
from almost_kedro.models.checkpoints import Checkpoint
from almost_kedro.options.all import Options
from almost_kedro.processes.workplace import Workplace
from almost_kedro.rows.feedback import Comparison
from almost_kedro.rows.metrics import EnsembleMetrics
from almost_kedro.rows.training import PromptSplit


def measure_ensemble(
    reward_pairs: list[Comparison],
    prompt_splits: list[PromptSplit],
    reward_model: Checkpoint,
    options: Options,
    workplace: Workplace,
) -> EnsembleMetrics:
    """Compare members with what they say together on held-out comparisons.

    Of a reward model that rewards alone, there is only the number. The members' rewards were
    computed before, by `score_held_out`.
    """
    scorer = make_scorer(reward_model, options, workplace)
    if not isinstance(scorer, Ensemble):
        return {"n_members": 1}
    rows = select_comparisons(reward_pairs, prompt_splits, "held_out")
    answers = build_answer_rows(rows, options.rules)
    found = [rewards for rewards, _ in score_by_jobs(scorer.members, answers)]
    chosen, rejected = (
        [[rewards[f"{row['comparison_id']}:{side}"] for row in rows] for rewards in found]
        for side in ("chosen", "rejected")
    )
    report = report_ensemble(rows, chosen, rejected, scorer.scales, scorer.penalty, options.seed)
    if contrasts := options.reward_model.contrasts:
        report["contrasts"] = contrasts
    return report
