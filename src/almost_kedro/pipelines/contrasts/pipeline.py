"""Wiring of `contrasts`, which is no part of `__default__`."""

from kedro.pipeline import Node, Pipeline

from .. import synthetic_feedback
from ..reward_model.pipeline import SETTING
from . import nodes


def create_pipeline() -> Pipeline:
    """Return the pipeline: answers of all assistants, comparisons by contrast, reward models."""
    return synthetic_feedback.create_pipeline() + Pipeline(
        [
            Node(
                func=nodes.check_contrasts,
                inputs={
                    "demonstrations": "demonstrations",
                    "response_generation": "params:response_generation",
                    "contrasts": "params:contrasts",
                    "rules": "params:rules",
                },
                outputs="contrasts_plan",
                name="check_contrasts",
            ),
            Node(
                func=nodes.compare_contrasts,
                inputs={
                    "contrasts_plan": "contrasts_plan",
                    "prompts": "prompts",
                    "responses": "responses",
                    "ledger_responses": "ledger_responses",
                    "assistants": "assistants",
                    "comparisons": "params:comparisons",
                    "rules": "params:rules",
                },
                outputs="contrast_comparisons",
                name="compare_contrasts",
            ),
            Node(
                func=nodes.try_contrasts,
                inputs={
                    "contrast_comparisons": "contrast_comparisons",
                    "prompt_splits": "prompt_splits",
                    "hhh_items": "hhh_items",
                    **SETTING,
                },
                outputs="contrasts_metrics",
                name="try_contrasts",
            ),
        ]
    )
