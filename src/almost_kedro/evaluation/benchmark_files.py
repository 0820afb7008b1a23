"""Readers of benchmark files in the official formats; our own sets have them, too."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from almost_kedro.errors import UserError
from almost_kedro.evaluation.benchmarks import (
    ASSISTANT,
    PAIR_FIELDS,
    QUESTION_FIELDS,
    Place,
    collect_items,
    get_text,
    make_pair,
    name_item,
    order_choices,
)
from almost_kedro.rows.evaluation import ChoiceItem, OpenItem, PairItem

PAIR_FORMAT = (
    r'each item needs chosen and rejected, texts "\n\nHuman: ...\n\nAssistant: ..." that differ in '
    "the last answer alone, and type: helpful, harmless, honest or other"
)
CHOICE_FORMAT = (
    'each item needs question, a text, and mc1_targets: {"choice": 1, "other choice": 0, ...} '
    "with one 1"
)
CSV_FORMAT = (
    "TruthfulQA.csv has the columns Category, Question, Best Answer and Incorrect Answers, of "
    'which the last has one or more, with ";" in between'
)
# Key of the fields without a column.
EXTRA = "(more)"
OPEN_FORMAT = (
    'each line needs {"question_id": a number, "text": "the question", "category": "its category"}'
)


def read_pairs(path: Path) -> list[PairItem]:
    """Read pairs of static HHH from a file like hhh_eval.json (rule 26).

    Raises UserError for a missing file, or the first item that is repeated or not of this format.
    """
    return collect_items(
        ((place, _read_pair(row, place)) for place, row in _read_list(path, PAIR_FORMAT)),
        PAIR_FIELDS,
        str(path),
    )


def _read_pair(row: object, place: Place) -> PairItem:
    dialogues, answers = [], []
    for field in ("chosen", "rejected"):
        text = get_text(row, field, place, PAIR_FORMAT)
        # The dialogue goes up to the last cue; earlier answers are part of it.
        before, cue, answer = text.rpartition(ASSISTANT)
        if not cue:
            raise place.refuse(rf'{field} has no "\n\nAssistant:"', PAIR_FORMAT)
        dialogues.append(before + cue)
        answers.append(answer)
    category = get_text(row, "type", place, PAIR_FORMAT)
    if dialogues[0] != dialogues[1]:
        raise place.refuse(
            f"chosen and rejected have different dialogues, {_show_fork(*dialogues)}", PAIR_FORMAT
        )
    return make_pair(place.number, category, dialogues[0], answers, place, PAIR_FORMAT)


def _show_fork(one: str, other: str) -> str:
    same = next(
        (i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b),
        min(len(one), len(other)),
    )
    return (
        f"from character {same + 1} on: {one[same : same + 20]!r} and {other[same : same + 20]!r}"
    )


def read_choices(path: Path) -> list[ChoiceItem]:
    """Read TruthfulQA-MC1 from TruthfulQA.csv or mc_task.json, by the suffix (rule 27).

    The choices of a CSV line are its best answer and its incorrect ones, without repetitions, each
    with a full stop at the end. The authors made mc_task.json from it in this way.

    Raises UserError for a missing file, or the first item of another format or with a known
    question.
    """
    readers = {".csv": _read_csv_choices, ".json": _read_json_choices}
    if path.suffix.lower() not in readers:
        raise UserError(f"{path}: found the suffix {path.suffix!r}; give a .csv or a .json file")
    return collect_items(readers[path.suffix.lower()](path), QUESTION_FIELDS, str(path))


def _read_json_choices(path: Path) -> Iterator[tuple[Place, ChoiceItem]]:
    for place, row in _read_list(path, CHOICE_FORMAT):
        question = get_text(row, "question", place, CHOICE_FORMAT)
        assert isinstance(row, Mapping)
        targets = row.get("mc1_targets")
        if not isinstance(targets, Mapping):
            raise place.refuse(f"mc1_targets is {targets!r:.60}", CHOICE_FORMAT)
        named = "category" in row
        yield (
            place,
            ChoiceItem(
                item_id=name_item("mc1", place.number),
                category=get_text(row, "category", place, CHOICE_FORMAT) if named else "",
                question=question.strip(),
                choices=order_choices(list(targets), list(targets.values()), place, CHOICE_FORMAT),
            ),
        )


def _read_csv_choices(path: Path) -> Iterator[tuple[Place, ChoiceItem]]:
    reader = csv.DictReader(
        io.StringIO(read_text(path), newline=""), restkey=EXTRA, restval="", strict=True
    )
    position = 0
    try:
        for row in reader:
            position += 1
            place = Place(str(path), "line", reader.line_num)
            yield place, _read_csv_choice(row, place, position)
    except csv.Error as exc:
        # Names the start of the bad row: an unclosed quotation goes on to the file's end.
        raise UserError(f"{path}, line {reader.line_num + 1}: {exc}; {CSV_FORMAT}") from exc


def _read_csv_choice(row: Mapping[str, Any], place: Place, position: int) -> ChoiceItem:
    if row.get(EXTRA):
        raise place.refuse(f"{len(row[EXTRA])} fields too many", CSV_FORMAT)
    category, question, best, incorrect = (
        get_text(row, column, place, CSV_FORMAT).strip()
        for column in ("Category", "Question", "Best Answer", "Incorrect Answers")
    )
    wrong = dict.fromkeys(_close(answer) for answer in incorrect.split(";") if answer.strip())
    choices = [_close(best), *wrong]
    return ChoiceItem(
        item_id=name_item("mc1", position),
        category=category,
        question=question,
        choices=order_choices(choices, [1] + [0] * len(wrong), place, CSV_FORMAT),
    )


def _close(answer: str) -> str:
    return answer.strip().removesuffix(".") + "."


def read_open(path: Path) -> list[OpenItem]:
    """Read open questions from a file like Vicuna's question.jsonl (rule 28).

    Raises UserError for a missing file, or the first line of another format or with a known id or
    text.
    """
    rows = list(read_lines(path, OPEN_FORMAT))
    items = [(place, _read_open(row, place, i)) for i, (place, row) in enumerate(rows, 1)]
    collect_items(rows, ("question_id",), str(path))
    return collect_items(items, QUESTION_FIELDS, str(path))


def _read_open(row: Any, place: Place, position: int) -> OpenItem:
    question = get_text(row, "text", place, OPEN_FORMAT)
    if not isinstance(row.get("question_id"), int | str):
        raise place.refuse(f"question_id is {row.get('question_id')!r:.60}", OPEN_FORMAT)
    return OpenItem(
        item_id=name_item("open", position),
        category=get_text(row, "category", place, OPEN_FORMAT).strip(),
        question=question.strip(),
    )


def _read_list(path: Path, expected: str) -> Iterator[tuple[Place, Any]]:
    text = read_text(path)
    try:
        rows = json.loads(text)
    except ValueError as exc:
        raise UserError(f"{path}: not JSON ({exc}); {expected}") from exc
    if not isinstance(rows, list):
        raise UserError(f"{path}: found a JSON {type(rows).__name__}, not a list; {expected}")
    yield from ((Place(str(path), "item", number), row) for number, row in enumerate(rows, 1))


def read_lines(path: Path, expected: str) -> Iterator[tuple[Place, Any]]:
    """Read a file of JSON lines, blank ones left out; raise UserError for one that is not JSON."""
    # Only "\n" ends a line: a text may contain other line separators.
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if line.strip():
            place = Place(str(path), "line", number)
            try:
                yield place, json.loads(line)
            except ValueError as exc:
                raise place.refuse(f"not JSON ({exc})", expected) from exc


def read_text(path: Path) -> str:
    """Read a user's file; raise UserError if it is missing or not UTF-8."""
    if not path.is_file():
        raise UserError(f"{path}: there is no such file; give one that there is")
    try:
        # Spreadsheets put a byte order mark first.
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise UserError(f"{path}: not UTF-8 ({exc}); save it as UTF-8") from exc
