"""Wiring of `dpo`."""

from kedro.pipeline import Pipeline

from almost_kedro.pipelines.dpo import nodes
from almost_kedro.pipelines.dpo.checks import check_dpo_inputs
from almost_kedro.pipelines.wiring import make_node


def create_pipeline() -> Pipeline:
    """Return the pipeline: training, test."""
    return Pipeline(
        [
            make_node(check_dpo_inputs, "dpo_plan"),
            make_node(
                nodes.train_dpo_policy,
                [
                    "dpo_policy",
                    "dpo_policy_training_metrics",
                    "dpo_policy_training_plot",
                    "dpo_watch_plot",
                ],
            ),
            make_node(nodes.test_dpo_policy, ["dpo_answers", "dpo_policy_metrics"]),
        ]
    )
