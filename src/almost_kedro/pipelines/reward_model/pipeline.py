"""Wiring of `reward_model`."""

from kedro.pipeline import Pipeline

from almost_kedro.pipelines.reward_model import (
    ensemble,
    mismatched,
    nodes,
    post_validation,
    report,
    seeds,
)
from almost_kedro.pipelines.reward_model.checks import check_reward_inputs
from almost_kedro.pipelines.wiring import make_node


def create_pipeline() -> Pipeline:
    """Return the pipeline: validate, select pairs, train two reward models, score, report."""
    return Pipeline(
        [
            make_node(check_reward_inputs, "reward_plan"),
            make_node(post_validation.read_as_is_pairs, "as_is_pairs"),
            make_node(
                post_validation.validate_comparisons,
                ["validated_comparisons", "ledger_post_validation", "post_validation_metrics"],
            ),
            make_node(
                nodes.select_reward_pairs,
                ["reward_pairs", "ledger_reward_pairs", "reward_pairs_metrics"],
            ),
            make_node(mismatched.draw_mismatched_pairs, "mismatched_pairs"),
            make_node(
                nodes.train_reward_model,
                ["reward_model", "reward_model_training_metrics", "reward_model_training_plot"],
            ),
            make_node(
                nodes.train_held_out_reward_model,
                [
                    "held_out_reward_model",
                    "held_out_reward_model_training_metrics",
                    "held_out_reward_model_training_plot",
                ],
            ),
            make_node(nodes.score_held_out, ["held_out_scores", "held_out_scores_metrics"]),
            make_node(
                report.report_reward_models,
                [
                    "reward_model_metrics",
                    "held_out_reward_model_metrics",
                    "gate",
                    "reward_model_accuracy_plot",
                    "reward_model_reliability_plot",
                ],
            ),
            make_node(seeds.repeat_with_seeds, "reward_model_seeds_metrics"),
            make_node(mismatched.measure_mismatched, "mismatched_pairs_metrics"),
            make_node(ensemble.measure_ensemble, "reward_model_ensemble_metrics"),
        ]
    )
