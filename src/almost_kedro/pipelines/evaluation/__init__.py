"""Benchmarks and pairwise judging of every model of the chain, beside the floors."""

from almost_kedro.pipelines.evaluation.pipeline import create_pipeline

__all__ = ["create_pipeline"]
