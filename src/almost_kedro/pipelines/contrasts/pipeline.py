"""Wiring of `contrasts`, which is no part of `__default__`."""

from kedro.pipeline import Pipeline

from almost_kedro.pipelines.contrasts import nodes
from almost_kedro.pipelines.wiring import make_node


def create_pipeline() -> Pipeline:
    """Return what comes after `synthetic_feedback`: comparisons by contrast, reward models."""
    return Pipeline(
        [
            make_node(nodes.check_contrasts, "contrasts_plan"),
            make_node(nodes.compare_contrasts, "contrast_comparisons"),
            make_node(nodes.try_contrasts, "contrasts_metrics"),
        ]
    )
