"""The project's pipelines, by folder name."""

from kedro.framework.project import find_pipelines
from kedro.pipeline import Pipeline

from almost_kedro.pipelines import synthetic_feedback

# Run by name only.
APART = ("rule_audit", "contrasts", "dpo")


def register_pipelines() -> dict[str, Pipeline]:
    """Return every pipeline by name; `__default__` is all of them without `APART`.

    Kedro finds only the pipelines that a run needs.
    """
    pipelines: dict[str, Pipeline] = find_pipelines(raise_errors=True)
    if "contrasts" in pipelines:
        pipelines["contrasts"] += synthetic_feedback.create_pipeline()
    chain = [pipeline for name, pipeline in pipelines.items() if name not in APART]
    pipelines["__default__"] = sum(chain, start=Pipeline([]))
    return pipelines
