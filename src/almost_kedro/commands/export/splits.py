"""Which file a row goes into: nothing that judges models may be trained on, whoever does it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

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


class Sorted(NamedTuple):
    """Rows by file; files without rows are left out.

    Attributes:
        files: The rows of each file.
        uses: What the prompts of each file are used for, in words.
        left_out: Rows that go into none.
    """

    files: dict[str, list[Mapping[str, Any]]]
    uses: dict[str, str]
    left_out: int


def sort_rows(
    dataset: str, rows: Iterable[Mapping[str, Any]], splits: Iterable[PromptSplit]
) -> Sorted:
    """Sort rows into files by the splits of their prompts.

    Rows without a prompt of ours are the user's own, which are for training (rule 25).

    Raises UserError for a row whose prompt has no split.
    """
    found = {row["prompt_id"]: row["split"] for row in splits}
    by_split: dict[Split | None, list[Mapping[str, Any]]] = {None: [], **{s: [] for s in FILES}}
    for row in rows:
        if row["prompt_id"] and row["prompt_id"] not in found:
            raise UserError(
                f"{dataset}: prompt {row['prompt_id']} has no split, so it is of another version "
                "than prompt_splits; export a version of one whole run (--version)"
            )
        by_split[found.get(row["prompt_id"])].append(row)
    result = Sorted({}, {}, sum(len(by_split[s]) for s, file in FILES.items() if file is None))
    for file in ORDER:
        of_file: list[Split | None] = [s for s in FILES if FILES[s] == file and by_split[s]]
        if file == TRAIN and by_split[None]:
            of_file.insert(0, None)
        if of_file:
            result.files[file] = [row for split in of_file for row in by_split[split]]
            result.uses[file] = ", ".join(split or "your own" for split in of_file)
    return result
