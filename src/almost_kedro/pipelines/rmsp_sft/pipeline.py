"""Wiring of `rmsp_sft`."""

from kedro.pipeline import Pipeline

from almost_kedro.pipelines.contamination import make_self_play_check
from almost_kedro.pipelines.rmsp_sft import nodes
from almost_kedro.pipelines.rmsp_sft.checks import check_sft_inputs
from almost_kedro.pipelines.wiring import make_node


def create_pipeline() -> Pipeline:
    """Return the pipeline: self-play, its report, demonstrations, fine-tuning, test."""
    return Pipeline(
        [
            make_node(check_sft_inputs, "self_play_plan"),
            make_node(nodes.play, ["self_play", "ledger_self_play", "self_play_costs_metrics"]),
            make_self_play_check(),
            make_node(
                nodes.select_demonstrations, ["sft_demonstrations", "ledger_sft_demonstrations"]
            ),
            make_node(nodes.report_self_play, ["self_play_metrics", "best_of_n_plot"]),
            make_node(
                nodes.train_sft_policy,
                ["sft_policy", "sft_policy_training_metrics", "sft_policy_training_plot"],
            ),
            make_node(nodes.test_sft_policy, ["sft_answers", "sft_policy_metrics"]),
        ]
    )
