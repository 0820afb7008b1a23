"""Wiring of `synthetic_feedback`."""

from kedro.pipeline import Node, Pipeline

from ..contamination import ITEMS, make_prompt_checks
from . import nodes


def create_pipeline() -> Pipeline:
    """Return the pipeline: benchmarks, check, prompts, responses, comparisons, charts."""
    return Pipeline(
        [
            *make_prompt_checks(),
            Node(
                func=nodes.check_feedback_inputs,
                inputs={
                    "seed_prompts": "seed_prompts",
                    "demonstrations": "demonstrations",
                    **ITEMS,
                    "models": "params:models",
                    "generation": "params:generation",
                    "prompt_generation": "params:prompt_generation",
                    "response_generation": "params:response_generation",
                    "comparisons": "params:comparisons",
                    "evaluation": "params:evaluation",
                    "rules": "params:rules",
                    "model_store": "model_store",
                    "server_keys": "server_keys",
                },
                outputs="feedback_plan",
                name="check_feedback_inputs",
            ),
            Node(
                func=nodes.write_prompts,
                inputs={
                    "feedback_plan": "feedback_plan",
                    "seed_prompts": "seed_prompts",
                    "models": "params:models",
                    "generation": "params:generation",
                    "prompt_generation": "params:prompt_generation",
                    "rules": "params:rules",
                    "seed": "params:seed",
                    "model_store": "model_store",
                    "server_keys": "server_keys",
                    "generation_work": "generation_work",
                },
                outputs=[
                    "prompts",
                    "prompts_txt",
                    "prompt_requests",
                    "ledger_prompts",
                    "prompts_metrics",
                ],
                name="write_prompts",
            ),
            Node(
                func=nodes.split_prompts,
                inputs={
                    "prompts": "prompts",
                    "contamination": "contamination",
                    "prompt_splits": "params:prompt_splits",
                    "evaluation": "params:evaluation",
                    "seed": "params:seed",
                },
                outputs="prompt_splits",
                name="split_prompts",
            ),
            Node(
                func=nodes.write_responses,
                inputs={
                    "prompts": "prompts",
                    "prompt_splits": "prompt_splits",
                    "demonstrations": "demonstrations",
                    "models": "params:models",
                    "generation": "params:generation",
                    "response_generation": "params:response_generation",
                    "comparisons": "params:comparisons",
                    "rules": "params:rules",
                    "seed": "params:seed",
                    "model_store": "model_store",
                    "server_keys": "server_keys",
                    "generation_work": "generation_work",
                },
                outputs=[
                    "assistants",
                    "responses",
                    "responses_aligned",
                    "ledger_responses",
                    "responses_metrics",
                ],
                name="write_responses",
            ),
            Node(
                func=nodes.compare_responses,
                inputs={
                    "prompts": "prompts",
                    "prompt_splits": "prompt_splits",
                    "responses": "responses",
                    "ledger_responses": "ledger_responses",
                    "assistants": "assistants",
                    "comparisons": "params:comparisons",
                    "rules": "params:rules",
                },
                outputs=["comparisons", "ledger_comparisons", "comparisons_metrics"],
                name="compare_responses",
            ),
            Node(
                func=nodes.draw_prompt_chart,
                inputs=["prompts_metrics", "ledger_prompts"],
                outputs="prompts_waterfall_plot",
                name="draw_prompt_chart",
            ),
            Node(
                func=nodes.draw_feedback_charts,
                inputs={
                    name: name
                    for name in (
                        "responses",
                        "ledger_responses",
                        "comparisons",
                        "comparisons_metrics",
                        "ledger_comparisons",
                    )
                },
                outputs=[
                    "ledger_waterfall_plot",
                    "response_lengths_plot",
                    "comparisons_plot",
                ],
                name="draw_feedback_charts",
            ),
        ],
        tags="synthetic_feedback",
    )
