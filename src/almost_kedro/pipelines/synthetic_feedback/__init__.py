"""From seed prompts and demonstrations to comparisons that nobody labelled."""

from .pipeline import create_pipeline

__all__ = ["create_pipeline"]
