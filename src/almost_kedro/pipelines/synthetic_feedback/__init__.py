"""From seed prompts and demonstrations to comparisons that nobody labelled."""

from almost_kedro.pipelines.synthetic_feedback.pipeline import create_pipeline

__all__ = ["create_pipeline"]
