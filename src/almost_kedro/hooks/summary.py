"""Logs at the end of a run what it made."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Callable
from itertools import islice
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline

from almost_kedro.datasets.whole_file import StreamedRowsDataset, TextFileDataset
from almost_kedro.evaluation.stages import STAGES, TRAINED
from almost_kedro.hooks import summary_lines as summary
from almost_kedro.processes.run import PLAIN

logger = logging.getLogger(__name__)
# Metrics that need no other dataset to be described, in the order of the lines.
DESCRIBE: dict[str, Callable[[Any], list[str]]] = {
    "mismatched_pairs_metrics": summary.describe_mismatched,
    "reward_model_ensemble_metrics": summary.describe_ensemble,
    "self_play_metrics": summary.describe_self_play,
    **{stage.metrics: summary.describe_policies for stage in TRAINED},
    "evaluation_metrics": summary.describe_evaluation,
}
# What the last lines rest on.
CONCLUDED = (
    "reward_model_metrics",
    "gate",
    "self_play_metrics",
    *(stage.metrics for stage in STAGES),
)
SUMMARIES = {"comparisons_metrics", "reward_model_metrics", "report", *DESCRIBE}


class SummaryHook:
    """Says at the end what was made and how to look at it."""

    @hook_impl
    def after_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog
    ) -> None:
        """Log the figures of what was made."""
        made = pipeline.all_outputs()
        if not made.isdisjoint(SUMMARIES):
            for line in summarise(catalog, made, repeat_options(run_params)):
                logger.info("%s", line, extra=PLAIN)
        if "comparisons_metrics" in made:
            metrics = catalog.load("comparisons_metrics")
            if not metrics["n_comparisons"]:
                same = repeat_options(run_params)
                logger.warning("%s", summary.explain_no_comparisons(metrics, same), extra=PLAIN)


def summarise(catalog: DataCatalog, made: set[str], same: str) -> list[str]:
    """Return the lines on what a pipeline made; `same` as in `describe_comparisons`."""
    lines = []
    if "comparisons_metrics" in made:
        dataset = catalog.get("comparisons")
        assert isinstance(dataset, StreamedRowsDataset)
        ids = [row["comparison_id"] for row in islice(dataset.stream(), 1)]
        lines += summary.describe_comparisons(
            catalog.load("comparisons_metrics"), dataset.load_path(), next(iter(ids), None), same
        )
    if "reward_model_metrics" in made:
        lines += summary.describe_reward_model(
            catalog.load("reward_model_metrics"), catalog.load("gate")
        )
    if "reward_model_seeds_metrics" in made:
        lines += summary.describe_seeds(catalog.load("reward_model_seeds_metrics"))
    for name, describe in DESCRIBE.items():
        if name in made:
            lines += describe(catalog.load(name))
    if "report" in made:
        lines += summary.conclude({name: catalog.load(name) for name in CONCLUDED})
        dataset = catalog.get("report")
        assert isinstance(dataset, TextFileDataset)
        lines.append(f"report: {dataset.load_path()}")
    return [*lines, "where datasets came from: make viz; curves and costs: make mlflow"]


def repeat_options(run_params: dict[str, Any]) -> str:
    """Return the options with which another command finds what this run made."""
    options = ""
    if run_params.get("env"):
        options += f" --env {run_params['env']}"
    root = (run_params.get("runtime_params") or {}).get("data_root")
    if root:
        options += f" --params {shlex.quote(f'data_root={root}')}"
    return options
