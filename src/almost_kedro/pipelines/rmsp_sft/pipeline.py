"""Wiring of `rmsp_sft`."""

from kedro.pipeline import Node, Pipeline

from ..contamination import make_self_play_check
from ..early_checks import check_sft_inputs
from . import nodes


def create_pipeline() -> Pipeline:
    """Return the pipeline: self-play, its report, demonstrations, fine-tuning, test."""
    return Pipeline(
        [
            Node(
                func=check_sft_inputs,
                inputs={
                    "demonstrations": "demonstrations",
                    "models": "params:models",
                    "generation": "params:generation",
                    "prompt_generation": "params:prompt_generation",
                    "response_generation": "params:response_generation",
                    "comparisons": "params:comparisons",
                    "self_play": "params:self_play",
                    "sft": "params:sft",
                    "rules": "params:rules",
                    "model_store": "model_store",
                },
                outputs="self_play_plan",
                name="check_sft_inputs",
            ),
            Node(
                func=nodes.play,
                inputs={
                    "self_play_plan": "self_play_plan",
                    "prompts": "prompts",
                    "prompt_splits": "prompt_splits",
                    "assistants": "assistants",
                    "reward_model_checkpoint": "reward_model",
                    "held_out_reward_model_checkpoint": "held_out_reward_model",
                    "models": "params:models",
                    "generation": "params:generation",
                    "comparisons": "params:comparisons",
                    "self_play": "params:self_play",
                    "reward_model": "params:reward_model",
                    "launch": "params:launch",
                    "rules": "params:rules",
                    "seed": "params:seed",
                    "model_store": "model_store",
                    "server_keys": "server_keys",
                    "generation_work": "generation_work",
                    "training_work": "training_work",
                },
                outputs=["self_play", "ledger_self_play", "self_play_costs_metrics"],
                name="play",
            ),
            make_self_play_check(),
            Node(
                func=nodes.select_demonstrations,
                inputs={
                    "self_play_candidates": "self_play",
                    "sft_contamination": "sft_contamination",
                    "evaluation": "params:evaluation",
                    "rules": "params:rules",
                },
                outputs=["sft_demonstrations", "ledger_sft_demonstrations"],
                name="select_demonstrations",
            ),
            Node(
                func=nodes.report_self_play,
                inputs={
                    "self_play_candidates": "self_play",
                    "ledger_self_play": "ledger_self_play",
                    "gate": "gate",
                    "seed": "params:seed",
                },
                outputs=["self_play_metrics", "best_of_n_plot"],
                name="report_self_play",
            ),
            Node(
                func=nodes.train_sft_policy,
                inputs={
                    "sft_demonstrations": "sft_demonstrations",
                    "prompt_splits": "prompt_splits",
                    "models": "params:models",
                    "sft": "params:sft",
                    "launch": "params:launch",
                    "rules": "params:rules",
                    "seed": "params:seed",
                    "model_store": "model_store",
                    "accelerate_configs": "accelerate_configs",
                    "training_work": "training_work",
                },
                outputs=["sft_policy", "sft_policy_training_metrics", "sft_policy_training_plot"],
                name="train_sft_policy",
            ),
            Node(
                func=nodes.test_sft_policy,
                inputs={
                    "prompts": "prompts",
                    "prompt_splits": "prompt_splits",
                    "assistants": "assistants",
                    "sft_policy": "sft_policy",
                    "reward_model_checkpoint": "reward_model",
                    "held_out_reward_model_checkpoint": "held_out_reward_model",
                    "gate": "gate",
                    "models": "params:models",
                    "generation": "params:generation",
                    "comparisons": "params:comparisons",
                    "policy_test": "params:policy_test",
                    "reward_model": "params:reward_model",
                    "sft": "params:sft",
                    "launch": "params:launch",
                    "rules": "params:rules",
                    "seed": "params:seed",
                    "model_store": "model_store",
                    "server_keys": "server_keys",
                    "generation_work": "generation_work",
                    "training_work": "training_work",
                },
                outputs=["sft_answers", "sft_policy_metrics"],
                name="test_sft_policy",
            ),
        ]
    )
