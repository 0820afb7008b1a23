"""Direct preference optimisation on the reward model's comparisons; run by name only."""

from almost_kedro.pipelines.dpo.pipeline import create_pipeline

__all__ = ["create_pipeline"]
