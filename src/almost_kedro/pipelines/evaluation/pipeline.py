"""Wiring of `evaluation`."""

from kedro.pipeline import Node, Pipeline

from ..benchmarks import read_mc1_preset
from ..contamination import make_prompt_checks, make_self_play_check
from ..early_checks import check_evaluation_inputs
from . import explorer, judging, models, pages, questions, report

POLICIES = {
    "prompt_splits": "prompt_splits",
    "assistants": "assistants",
    "sft_policy": "sft_policy",
    "rl_policy": "rl_policy",
    "models": "params:models",
    "generation": "params:generation",
    "comparisons": "params:comparisons",
    "sft": "params:sft",
    "evaluation": "params:evaluation",
    "model_store": "model_store",
}
REWARD_MODELS = {
    "prompt_splits": "prompt_splits",
    "held_out_reward_model_checkpoint": "held_out_reward_model",
    "models": "params:models",
    "reward_model": "params:reward_model",
    "launch": "params:launch",
    "rules": "params:rules",
    "model_store": "model_store",
    "training_work": "training_work",
}


def create_pipeline() -> Pipeline:
    """Return the pipeline: benchmarks, what models make of them, judging, report."""
    return Pipeline(
        [
            *make_prompt_checks(),
            make_self_play_check(),
            Node(
                func=read_mc1_preset,
                inputs={"evaluation": "params:evaluation"},
                outputs="mc1_preset",
                name="read_mc1_preset",
            ),
            Node(
                func=check_evaluation_inputs,
                inputs={
                    "open_questions": "open_questions",
                    "demonstrations": "demonstrations",
                    "models": "params:models",
                    "generation": "params:generation",
                    "response_generation": "params:response_generation",
                    "comparisons": "params:comparisons",
                    "evaluation": "params:evaluation",
                    "sft": "params:sft",
                    "rules": "params:rules",
                    "model_store": "model_store",
                    "server_keys": "server_keys",
                },
                outputs="evaluation_plan",
                name="check_evaluation_inputs",
            ),
            Node(
                func=report.count_contamination,
                inputs={
                    "prompts": "prompts",
                    "prompt_splits": "prompt_splits",
                    "contamination": "contamination",
                    "self_play_candidates": "self_play",
                    "sft_demonstrations": "sft_demonstrations",
                    "sft_contamination": "sft_contamination",
                    "sft_policy": "sft_policy",
                },
                outputs="training_contamination_metrics",
                name="count_contamination",
            ),
            Node(
                func=models.evaluate_policies,
                inputs={
                    "hhh_items": "hhh_items",
                    "mc1_items": "mc1_items",
                    "mc1_preset": "mc1_preset",
                    "evaluation_work": "evaluation_work",
                    **POLICIES,
                },
                outputs=["hhh_verdicts", "mc1_verdicts", "policy_verdicts_metrics"],
                name="evaluate_policies",
            ),
            Node(
                func=models.evaluate_reward_models,
                inputs={
                    "hhh_items": "hhh_items",
                    "reward_model_checkpoint": "reward_model",
                    **REWARD_MODELS,
                },
                outputs=["reward_verdicts", "reward_verdicts_metrics"],
                name="evaluate_reward_models",
            ),
            Node(
                func=questions.answer_questions,
                inputs={
                    "open_questions": "open_questions",
                    "rules": "params:rules",
                    "seed": "params:seed",
                    "server_keys": "server_keys",
                    "generation_work": "generation_work",
                    **POLICIES,
                },
                outputs=["open_answers", "open_answers_metrics"],
                name="answer_questions",
            ),
            Node(
                func=judging.judge_answers,
                inputs={
                    "open_questions": "open_questions",
                    "open_answers": "open_answers",
                    "generation": "params:generation",
                    "evaluation": "params:evaluation",
                    "seed": "params:seed",
                    "server_keys": "server_keys",
                    "generation_work": "generation_work",
                    **REWARD_MODELS,
                },
                outputs=["judge_votes", "judge_cards"],
                name="judge_answers",
            ),
            Node(
                func=report.report_evaluation,
                inputs={
                    "hhh_items": "hhh_items",
                    "mc1_items": "mc1_items",
                    "mc1_preset": "mc1_preset",
                    "benchmark_sources": "benchmark_sources",
                    "hhh_verdicts": "hhh_verdicts",
                    "mc1_verdicts": "mc1_verdicts",
                    "reward_verdicts": "reward_verdicts",
                    "policy_verdicts_metrics": "policy_verdicts_metrics",
                    "reward_verdicts_metrics": "reward_verdicts_metrics",
                    "open_answers_metrics": "open_answers_metrics",
                    "judge_cards": "judge_cards",
                    "contamination_metrics": "contamination_metrics",
                    "training_contamination_metrics": "training_contamination_metrics",
                    "gate": "gate",
                    "evaluation": "params:evaluation",
                    "seed": "params:seed",
                },
                outputs=["evaluation_metrics", "evaluation_plot"],
                name="report_evaluation",
            ),
            Node(
                func=explorer.write_explorer,
                inputs={
                    "seed_prompts": "seed_prompts",
                    "prompts": "prompts",
                    "prompt_splits": "prompt_splits",
                    "assistants": "assistants",
                    "responses": "responses",
                    "comparisons": "comparisons",
                    "ledger_comparisons": "ledger_comparisons",
                    "ledger_post_validation": "ledger_post_validation",
                    "ledger_reward_pairs": "ledger_reward_pairs",
                    "held_out_scores": "held_out_scores",
                },
                outputs="explorer",
                name="write_explorer",
            ),
            Node(
                func=pages.write_report,
                inputs=pages.REPORT_INPUTS,
                outputs="report",
                name="write_report",
            ),
            Node(
                func=pages.write_cards,
                inputs=pages.CARD_INPUTS,
                outputs=["dataset_card", "model_card"],
                name="write_cards",
            ),
        ]
    )
