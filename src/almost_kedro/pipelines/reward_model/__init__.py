"""Train a reward model on the comparisons (not built yet: an empty pipeline)."""

from kedro.pipeline import Pipeline


def create_pipeline() -> Pipeline:
    """Return the pipeline."""
    return Pipeline([])
