"""Wiring of `evaluation`."""

from kedro.pipeline import Pipeline

from almost_kedro.evaluation.benchmark_records import BENCHMARKS
from almost_kedro.evaluation.benchmark_sources import read_mc1_preset
from almost_kedro.pipelines.contamination import make_prompt_checks, make_self_play_check
from almost_kedro.pipelines.evaluation import (
    explorer,
    judging,
    models,
    pages,
    preferences,
    questions,
    report,
)
from almost_kedro.pipelines.evaluation.checks import check_evaluation_inputs
from almost_kedro.pipelines.wiring import make_node


def create_pipeline() -> Pipeline:
    """Return the pipeline: benchmarks, the models' answers, judging, report."""
    return Pipeline(
        [
            *make_prompt_checks(),
            make_self_play_check(),
            make_node(read_mc1_preset, "mc1_preset"),
            make_node(check_evaluation_inputs, "evaluation_plan"),
            make_node(report.count_contamination, "training_contamination_metrics"),
            make_node(
                models.evaluate_policies,
                [*(each.verdicts for each in BENCHMARKS), "policy_verdicts_metrics"],
                (*models.ASKED, *models.TRAINED),
            ),
            make_node(
                models.evaluate_reward_models, ["reward_verdicts", "reward_verdicts_metrics"]
            ),
            make_node(
                preferences.score_preferences,
                ["preference_scores", "preference_scores_metrics"],
                models.TRAINED,
            ),
            make_node(preferences.judge_preferences, ["preference_verdicts", "preference_reports"]),
            make_node(
                questions.answer_questions,
                ["open_answers", "open_answers_metrics"],
                models.TRAINED,
            ),
            make_node(judging.judge_answers, ["judge_votes", "judge_cards"]),
            make_node(
                report.report_evaluation, ["evaluation_metrics", "evaluation_plot"], report.ANSWERED
            ),
            make_node(explorer.write_explorer, "explorer", explorer.LEDGERS),
            make_node(pages.write_report, "report", pages.REPORTED),
            make_node(pages.write_cards, ["dataset_card", "model_card"], pages.ON_CARDS),
        ]
    )
