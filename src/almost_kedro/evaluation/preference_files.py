"""Reads preference sets of the user's: JSON lines as RewardBench and RewardBench 2 have them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from almost_kedro.errors import UserError
from almost_kedro.evaluation.benchmark_files import read_lines
from almost_kedro.evaluation.benchmarks import Place, get_text, name_item
from almost_kedro.evaluation.preferences import name_prompt
from almost_kedro.feedback.responses import build_question
from almost_kedro.feedback.self_play import build_dialogue
from almost_kedro.rows.dialogues import check_turns
from almost_kedro.rows.preferences import PreferenceItem

FORMAT = (
    "each line needs prompt (a text, or a list of messages that ends with the user's), chosen (a "
    "text), rejected (a text, or a list of them), and either every line has subset or none"
)


def read_preferences(name: str, path: Path) -> list[PreferenceItem]:
    """Read the set `name`; other fields of a line are not read.

    A file in which no line has a subset is one whole. Items may be there twice, as in published
    sets. Raises UserError for a missing file, one without items, or the first bad line.
    """
    rows = list(read_lines(path, FORMAT))
    if not rows:
        raise UserError(f"{path}: no items; {FORMAT}")
    has_subsets = isinstance(rows[0][1], Mapping) and "subset" in rows[0][1]
    return [
        _read_item(row, name, position, place, has_subsets)
        for position, (place, row) in enumerate(rows, 1)
    ]


def _read_item(
    row: Any, name: str, position: int, place: Place, has_subsets: bool
) -> PreferenceItem:
    if not isinstance(row, Mapping):
        raise place.refuse(f"found {row!r:.60}", FORMAT)
    if not has_subsets and "subset" in row:
        raise place.refuse("it has a subset, but the lines before have none", FORMAT)
    dialogue = _read_prompt(row, place)
    chosen = _list_texts(row, "chosen", place)
    if len(chosen) > 1:
        raise place.refuse(
            f"chosen has {len(chosen)} texts, and one answer has to be the right one "
            "(RewardBench 2's subset Ties has several: leave it out)",
            FORMAT,
        )
    rejected = _list_texts(row, "rejected", place)
    if chosen[0] in rejected:
        raise place.refuse("chosen and rejected are the same answer", FORMAT)
    return PreferenceItem(
        item_id=name_item(name, position),
        set=name,
        prompt_id=name_prompt(dialogue),
        category=get_text(row, "subset", place, FORMAT).strip() if has_subsets else "",
        dialogue=dialogue,
        choices=chosen + rejected,
    )


def _read_prompt(row: Mapping[str, Any], place: Place) -> str:
    r"""Return the dialogue up to and with "\n\nAssistant:"."""
    prompt = row.get("prompt")
    if not isinstance(prompt, list):
        return build_question(get_text(row, "prompt", place, FORMAT).strip(), "corrected")
    try:
        check_turns(prompt)
        if len(prompt) % 2 == 0:
            raise ValueError("its last message is the assistant's")
    except ValueError as exc:
        raise place.refuse(f"prompt: {exc}", FORMAT) from exc
    *earlier, question = [message["content"].strip() for message in prompt]
    turns = list(zip(earlier[::2], earlier[1::2], strict=True))
    return build_dialogue(turns, question, "corrected")


def _list_texts(row: Mapping[str, Any], field: str, place: Place) -> list[str]:
    """Return a field's texts, which is one text or a list of some."""
    value = row.get(field)
    if not isinstance(value, list):
        return [get_text(row, field, place, FORMAT).strip()]
    if not value:
        raise place.refuse(f"{field} is an empty list", FORMAT)
    for number, text in enumerate(value, 1):
        if not isinstance(text, str) or not text.strip():
            raise place.refuse(f"{field}, text {number}: found {text!r:.60}", FORMAT)
    return [text.strip() for text in value]
