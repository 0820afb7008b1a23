"""Wiring of `rule_audit`, which is no part of `__default__`."""

from kedro.pipeline import Pipeline

from almost_kedro.pipelines.rule_audit import nodes
from almost_kedro.pipelines.wiring import make_node


def create_pipeline() -> Pipeline:
    """Return the pipeline: one node, which trains a reward model without each rule."""
    return Pipeline([make_node(nodes.audit_rules, ["rule_audit_metrics", "rule_audit_plot"])])
