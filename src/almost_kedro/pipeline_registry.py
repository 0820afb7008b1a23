"""The project's pipelines, by folder name."""

from kedro.framework.project import find_pipelines
from kedro.pipeline import Pipeline

# Run by name only.
APART = ("rule_audit", "contrasts")


def register_pipelines() -> dict[str, Pipeline]:
    """Return every pipeline by name; `__default__` is all of them but those apart."""
    pipelines: dict[str, Pipeline] = find_pipelines(raise_errors=True)
    chain = [pipeline for name, pipeline in pipelines.items() if name not in APART]
    pipelines["__default__"] = sum(chain, start=Pipeline([]))
    return pipelines
