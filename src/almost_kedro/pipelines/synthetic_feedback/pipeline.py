"""Wiring of `synthetic_feedback`."""

from kedro.pipeline import Pipeline

from almost_kedro.evaluation.benchmark_records import ITEMS
from almost_kedro.pipelines.contamination import make_prompt_checks
from almost_kedro.pipelines.synthetic_feedback import nodes
from almost_kedro.pipelines.synthetic_feedback.checks import check_feedback_inputs
from almost_kedro.pipelines.wiring import make_node


def create_pipeline() -> Pipeline:
    """Return the pipeline: benchmarks, check, prompts, responses, comparisons, charts."""
    return Pipeline(
        [
            *make_prompt_checks(),
            make_node(check_feedback_inputs, "feedback_plan", ITEMS),
            make_node(
                nodes.write_prompts,
                ["prompts", "prompts_txt", "prompt_requests", "ledger_prompts", "prompts_metrics"],
            ),
            make_node(nodes.split_prompts, "prompt_splits"),
            make_node(
                nodes.write_responses,
                [
                    "assistants",
                    "responses",
                    "responses_aligned",
                    "ledger_responses",
                    "responses_metrics",
                ],
            ),
            make_node(
                nodes.compare_responses,
                ["comparisons", "ledger_comparisons", "comparisons_metrics"],
            ),
            make_node(nodes.draw_prompt_chart, "prompts_waterfall_plot"),
            make_node(
                nodes.draw_feedback_charts,
                ["ledger_waterfall_plot", "response_lengths_plot", "comparisons_plot"],
            ),
        ],
        tags="synthetic_feedback",
    )
