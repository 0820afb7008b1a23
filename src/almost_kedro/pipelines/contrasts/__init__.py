"""Search for contrasts that carry signal (`kedro run --env contrasts --pipeline contrasts`)."""

from almost_kedro.pipelines.contrasts.pipeline import create_pipeline

__all__ = ["create_pipeline"]
