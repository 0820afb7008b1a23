"""Self-play guided by the reward model, and fine-tuning on what it kept."""

from .pipeline import create_pipeline

__all__ = ["create_pipeline"]
