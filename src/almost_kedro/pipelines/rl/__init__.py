"""Reinforcement learning with the reward model, watched by the held-out one."""

from .pipeline import create_pipeline

__all__ = ["create_pipeline"]
