"""Rule audit (`make audit`): does each rule of thumb follow from the others?"""

from almost_kedro.pipelines.rule_audit.pipeline import create_pipeline

__all__ = ["create_pipeline"]
