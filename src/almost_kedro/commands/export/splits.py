"""Which file a row goes into: nothing that judges models may be trained on, whoever does it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from almost_kedro.errors import UserError
from almost_kedro.rows.training import PromptSplit, Split

TRAIN, TEST, JUDGE = "train", "test", "judge"
# By split of the prompt: its file; None goes into none.
FILES: Mapping[Split, str | None] = {
    "reward_model": TRAIN,
    "self_play": TRAIN,
    "rl": TRAIN,
    "held_out": TEST,
    "policy_test": TEST,
    "watch": TEST,
    # The held-out reward model was trained on them: who trains on them can't be judged by it.
    "held_out_reward_model": JUDGE,
    # Repeats a benchmark item.
    "contaminated": None,
}
ORDER = (TRAIN, TEST, JUDGE)


def sort_rows(
    dataset: str, rows: Iterable[Mapping[str, Any]], splits: Iterable[PromptSplit]
) -> tuple[dict[str, list[Mapping[str, Any]]], int]:
    """Return the rows by file, empty files left out, and how many rows go into none.

    Rows without a prompt of ours are the user's own, which are for training (rule 25).

    Raises UserError for a row whose prompt has no split.
    """
    found = {row["prompt_id"]: row["split"] for row in splits}
    files: dict[str, list[Mapping[str, Any]]] = {name: [] for name in ORDER}
    left_out = 0
    for row in rows:
        if row["prompt_id"] and row["prompt_id"] not in found:
            raise UserError(
                f"{dataset}: prompt {row['prompt_id']} has no split, so it is of another version "
                "than prompt_splits; export a version of one whole run (--version)"
            )
        file = FILES[found[row["prompt_id"]]] if row["prompt_id"] else TRAIN
        if file:
            files[file].append(row)
        else:
            left_out += 1
    return {name: rows for name, rows in files.items() if rows}, left_out
