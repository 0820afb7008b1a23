"""Wiring of `rl`."""

from kedro.pipeline import Node, Pipeline

from ..early_checks import check_rl_inputs
from . import nodes


def create_pipeline() -> Pipeline:
    """Return the pipeline: gate, training, test."""
    return Pipeline(
        [
            Node(
                func=check_rl_inputs,
                inputs=["params:models", "params:sft", "params:rl", "model_store"],
                outputs="rl_plan",
                name="check_rl_inputs",
            ),
            Node(
                func=nodes.open_gate,
                inputs={
                    "gate_result": "gate",
                    "gate": "params:gate",
                },
                outputs="rl_gate",
                name="open_gate",
            ),
            Node(
                func=nodes.train_rl_policy,
                inputs={
                    "open_gate": "rl_gate",
                    "prompts": "prompts",
                    "prompt_splits": "prompt_splits",
                    "sft_policy": "sft_policy",
                    "reward_model_checkpoint": "reward_model",
                    "held_out_reward_model_checkpoint": "held_out_reward_model",
                    "models": "params:models",
                    "reward_model": "params:reward_model",
                    "sft": "params:sft",
                    "rl": "params:rl",
                    "launch": "params:launch",
                    "rules": "params:rules",
                    "seed": "params:seed",
                    "model_store": "model_store",
                    "accelerate_configs": "accelerate_configs",
                    "training_work": "training_work",
                },
                outputs=[
                    "rl_policy",
                    "rollouts",
                    "rl_policy_training_metrics",
                    "rl_policy_training_plot",
                    "rl_watch_plot",
                ],
                name="train_rl_policy",
            ),
            Node(
                func=nodes.test_rl_policy,
                inputs={
                    "open_gate": "rl_gate",
                    "prompts": "prompts",
                    "prompt_splits": "prompt_splits",
                    "sft_policy": "sft_policy",
                    "rl_policy": "rl_policy",
                    "reward_model_checkpoint": "reward_model",
                    "held_out_reward_model_checkpoint": "held_out_reward_model",
                    "models": "params:models",
                    "generation": "params:generation",
                    "policy_test": "params:policy_test",
                    "reward_model": "params:reward_model",
                    "sft": "params:sft",
                    "launch": "params:launch",
                    "rules": "params:rules",
                    "seed": "params:seed",
                    "server_keys": "server_keys",
                    "generation_work": "generation_work",
                    "training_work": "training_work",
                },
                outputs=["rl_answers", "rl_policy_metrics"],
                name="test_rl_policy",
            ),
        ]
    )
