"""Search for contrasts that carry signal (`kedro run --env contrasts --pipeline contrasts`)."""

from .pipeline import create_pipeline

__all__ = ["create_pipeline"]
