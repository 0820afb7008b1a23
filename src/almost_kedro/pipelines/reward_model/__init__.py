"""Reward models from comparisons, and how well they judge held-out prompts."""

from almost_kedro.pipelines.reward_model.pipeline import create_pipeline

__all__ = ["create_pipeline"]
