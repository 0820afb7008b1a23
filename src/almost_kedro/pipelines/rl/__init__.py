"""Reinforcement learning with the reward model, watched by the held-out one."""

from almost_kedro.pipelines.rl.pipeline import create_pipeline

__all__ = ["create_pipeline"]
