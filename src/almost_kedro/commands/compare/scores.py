"""What each row adds to a figure, so that two runs can be compared on the rows that both have.

The id of a benchmark's item is its place in a file, and servers answer anew each time: two runs
have an item in common only if its text is the same, too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from almost_kedro.commands.compare.differences import Score
from almost_kedro.contract import row_id
from almost_kedro.evaluation.floors import score_wins
from almost_kedro.evaluation.judge import WINS

Row = Mapping[str, Any]
BASE = "base"


def name_contents(rows: Iterable[Row], key: str, fields: Iterable[str] = ()) -> dict[str, str]:
    """Name each row by its id and by what is in it.

    Args:
        rows: Items, or comparisons.
        key: The field that holds the id.
        fields: What counts; without any, all that is in a row.
    """
    counted = list(fields)
    return {
        row[key]: row_id(*(f"{name}={row[name]}" for name in counted or sorted(row)))
        for row in rows
    }


def score_verdicts(
    rows: Iterable[Row], contents: Mapping[str, str], group: str = "item_id"
) -> dict[str, list[Score]]:
    """Return each model's hits on a benchmark; `contents` names the items.

    `group` is the field that the bootstrap draws by.
    """
    scores = defaultdict(list)
    for row in rows:
        item = row["item_id"]
        scores[row["model"]].append(Score(contents.get(item, ""), row[group], row["hit"]))
    return dict(scores)


def score_comparisons(rows: Iterable[Row], contents: Mapping[str, str], reward: str) -> list[Score]:
    """Return how often a reward model prefers the chosen answer; equal rewards are half right."""
    return [
        Score(
            contents.get(row["comparison_id"], ""),
            row["prompt_id"],
            float(score_wins(row[f"{reward}_chosen"] - row[f"{reward}_rejected"])),
        )
        for row in rows
    ]


def score_answers(rows: Iterable[Row], measure: Callable[[Row], float]) -> dict[str, list[Score]]:
    """Measure each policy's answers; a prompt's id is made of its text."""
    scores = defaultdict(list)
    for row in rows:
        prompt = row["prompt_id"]
        scores[row["policy"]].append(Score(prompt, prompt, float(measure(row))))
    return dict(scores)


def score_votes(rows: Iterable[Row], contents: Mapping[str, str]) -> dict[str, list[Score]]:
    """Return how often each model wins against the base model, by valid vote; a tie is half."""
    scores = defaultdict(list)
    for row in rows:
        if row["valid"] and row["model_b"] == BASE:
            item = row["item_id"]
            name = f"{contents[item]}/{row['order']}" if item in contents else ""
            scores[row["model_a"]].append(Score(name, item, WINS[row["verdict"]]))
    return dict(scores)
