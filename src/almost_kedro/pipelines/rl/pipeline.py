"""Wiring of `rl`."""

from kedro.pipeline import Pipeline

from almost_kedro.pipelines.rl import nodes
from almost_kedro.pipelines.rl.checks import check_rl_inputs
from almost_kedro.pipelines.wiring import make_node


def create_pipeline() -> Pipeline:
    """Return the pipeline: gate, training, test."""
    return Pipeline(
        [
            make_node(check_rl_inputs, "rl_plan"),
            make_node(nodes.open_gate, "rl_gate"),
            make_node(
                nodes.train_rl_policy,
                [
                    "rl_policy",
                    "rollouts",
                    "rl_policy_training_metrics",
                    "rl_policy_training_plot",
                    "rl_watch_plot",
                ],
            ),
            make_node(nodes.test_rl_policy, ["rl_answers", "rl_policy_metrics"]),
        ]
    )
