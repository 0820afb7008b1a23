"""Nodes of post-validation (rule 25): the user's pairs, and the comparisons they agree with."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from almost_kedro.datasets.hub_rows import load_hub_rows
from almost_kedro.errors import UserError
from almost_kedro.feedback.post_validation import (
    build_pair_rows,
    check_left,
    check_pairs,
    drop_disagreements,
    select_distinct,
    summarise_validation,
)
from almost_kedro.jobs.margins import measure_margins
from almost_kedro.options.all import Options
from almost_kedro.options.reward_model import AsIsFilterOptions
from almost_kedro.pipelines.reward_model.nodes import select_reward_pairs
from almost_kedro.processes.run import PLAIN
from almost_kedro.processes.workplace import Workplace
from almost_kedro.rows.feedback import Comparison, LedgerRow
from almost_kedro.rows.json_lines import read_numbered_rows
from almost_kedro.rows.training import AsIsPair, PromptSplit

logger = logging.getLogger(__name__)
NAME = "as_is_reward_model"


def read_as_is_pairs(as_is_filter_options: AsIsFilterOptions) -> list[AsIsPair]:
    """Read the pairs that the as-is reward model is trained on; none if the filter is off.

    No node comes before this one, so bad pairs stop a run before anything is generated. Raises
    UserError for a missing file or dataset, or for the first bad row.
    """
    given = as_is_filter_options
    if not given.enabled:
        return []
    limit = given.max_pairs
    if given.hub_dataset:
        source = f"as_is_filter.hub_dataset: {given.hub_dataset}, {given.hub_split}"
        rows = load_hub_rows(
            "as_is_filter.hub_dataset",
            given.hub_dataset,
            given.hub_split,
            "check both names, or give a file: pairs",
        )
        return check_pairs(enumerate(rows, 1), source, "row", limit)
    path = Path(given.pairs or "")
    if not path.is_file():
        raise UserError(
            f"as_is_filter.pairs: there is no file {path}; give one of JSON lines with prompt, "
            "chosen and rejected"
        )
    try:
        return check_pairs(read_numbered_rows(path), f"as_is_filter.pairs: {path}", "line", limit)
    except ValueError as exc:
        raise UserError(f"as_is_filter.pairs: {exc}") from exc


def validate_comparisons(
    comparisons: list[Comparison],
    prompt_splits: list[PromptSplit],
    as_is_pairs: list[AsIsPair],
    options: Options,
    workplace: Workplace,
) -> tuple[list[Comparison], list[LedgerRow], dict[str, Any]]:
    """Drop the comparisons that the as-is reward model disagrees with; all stay if it is off."""
    kept: list[Comparison] = comparisons
    ledger: list[LedgerRow] = []
    pairs = select_distinct(as_is_pairs)
    if options.as_is_filter.enabled:
        # The next node would raise the same error, but only after this training.
        select_reward_pairs(comparisons, prompt_splits, options.rules)
        margins = measure_margins(
            NAME,
            build_pair_rows(pairs, options.rules),
            comparisons,
            options.seed + 2,
            options,
            workplace,
        )
        kept, ledger = drop_disagreements(comparisons, margins, options.rules)
        check_left(comparisons, kept, prompt_splits)
        logger.info(
            "post-validation: the as-is reward model disagrees with %d of %d comparisons: "
            "kedro rows ledger_post_validation",
            len(ledger),
            len(comparisons),
            extra=PLAIN,
        )
    metrics = {
        "enabled": options.as_is_filter.enabled,
        "n_pairs": len(pairs),
        "n_identical_pairs": len(as_is_pairs) - len(pairs),
        **summarise_validation(comparisons, kept, ledger),
    }
    return kept, ledger, metrics
