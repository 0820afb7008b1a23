"""Nodes of post-validation (rule 25): the user's pairs, and the comparisons that they speak for."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from almost_kedro.errors import UserError
from almost_kedro.feedback.post_validation import (
    build_pair_rows,
    check_left,
    check_pairs,
    drop_disagreements,
    select_distinct,
    summarise_validation,
)
from almost_kedro.hub_rows import load_hub_rows
from almost_kedro.json_lines import read_numbered_rows
from almost_kedro.options import Models, Rules
from almost_kedro.programs import PLAIN
from almost_kedro.rows import Comparison, LedgerRow
from almost_kedro.training_options import AsIsFilterOptions, LaunchOptions, RewardModelOptions
from almost_kedro.training_rows import AsIsPair, PromptSplit

from .margins import measure_margins
from .nodes import RewardSetting, select_reward_pairs

logger = logging.getLogger(__name__)
NAME = "as_is_reward_model"


def read_as_is_pairs(as_is_filter: AsIsFilterOptions) -> list[AsIsPair]:
    """Read the pairs that the as-is reward model is trained on; none if the filter is off.

    Nothing comes before this node, so that bad pairs stop a run before anything is generated.

    Raises:
        UserError: No such file or dataset, or the first bad row.
    """
    if not as_is_filter.enabled:
        return []
    limit = as_is_filter.max_pairs
    if as_is_filter.hub_dataset:
        source = f"as_is_filter.hub_dataset: {as_is_filter.hub_dataset}, {as_is_filter.hub_split}"
        rows = load_hub_rows(
            "as_is_filter.hub_dataset",
            as_is_filter.hub_dataset,
            as_is_filter.hub_split,
            "check both names, or give a file: pairs",
        )
        return check_pairs(enumerate(rows, 1), source, "row", limit)
    path = Path(as_is_filter.pairs or "")
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
    as_is_filter: AsIsFilterOptions,
    models: Models,
    reward_model: RewardModelOptions,
    launch: LaunchOptions,
    rules: Rules,
    seed: int,
    model_store: Path,
    accelerate_configs: Path,
    training_work: Path,
) -> tuple[list[Comparison], list[LedgerRow], dict[str, Any]]:
    """Drop the comparisons that the as-is reward model disagrees with; all stay if it is off.

    Returns:
        Comparisons, ledger and metrics.
    """
    kept: list[Comparison] = comparisons
    ledger: list[LedgerRow] = []
    pairs = select_distinct(as_is_pairs)
    if as_is_filter.enabled:
        # Refuses before training what would be refused after it.
        select_reward_pairs(comparisons, prompt_splits, rules)
        setting = RewardSetting(
            models, reward_model, launch, rules, model_store, accelerate_configs, training_work
        )
        margins = measure_margins(
            NAME, build_pair_rows(pairs, rules), comparisons, seed + 2, setting
        )
        kept, ledger = drop_disagreements(comparisons, margins, rules)
        check_left(comparisons, kept, prompt_splits)
        logger.info(
            "post-validation: the as-is reward model disagrees with %d of %d comparisons: "
            "kedro rows ledger_post_validation",
            len(ledger),
            len(comparisons),
            extra=PLAIN,
        )
    metrics = {
        "enabled": as_is_filter.enabled,
        "n_pairs": len(pairs),
        "n_identical_pairs": len(as_is_pairs) - len(pairs),
        **summarise_validation(comparisons, kept, ledger),
    }
    return kept, ledger, metrics
