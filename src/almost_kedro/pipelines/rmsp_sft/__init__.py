"""Self-play guided by the reward model, and fine-tuning on what it kept."""

from almost_kedro.pipelines.rmsp_sft.pipeline import create_pipeline

__all__ = ["create_pipeline"]
