"""All that a run has to do: the work of each program, in the order of the pipelines."""

from __future__ import annotations

from almost_kedro.options import Options
from almost_kedro.plan.assumptions import Assumptions
from almost_kedro.plan.evaluation_counts import count_evaluation
from almost_kedro.plan.feedback_counts import count_feedback, count_reward_models
from almost_kedro.plan.lengths import Lengths
from almost_kedro.plan.policy_counts import count_rl, count_rmsp_sft
from almost_kedro.plan.setting import make_setting
from almost_kedro.plan.work import Pipeline, Work
from almost_kedro.rows import Assistant

PIPELINES: tuple[Pipeline, ...] = (
    "synthetic_feedback",
    "reward_model",
    "rmsp_sft",
    "rl",
    "evaluation",
)


def count_work(
    options: Options,
    assistants: list[Assistant],
    lengths: Lengths,
    assumptions: Assumptions,
    n_questions: int,
    n_pairs: float,
) -> list[Work]:
    """Count the work of all programs of a run.

    Args:
        options: All options.
        assistants: All of them.
        lengths: Of the texts that the run starts from.
        assumptions: What can't be known before.
        n_questions: Open questions.
        n_pairs: Pairs of static HHH.
    """
    setting = make_setting(options, assistants, lengths, assumptions)
    return [
        *count_feedback(setting),
        *count_reward_models(setting),
        *count_rmsp_sft(setting),
        *count_rl(setting),
        *count_evaluation(setting, n_questions, n_pairs),
    ]
