"""Items of the benchmarks (rules 26 to 28): what they are, and what makes a wrong one.

They are read from files in `benchmark_files.py` and from the hub's rows in `benchmark_hub.py`. A
wrong item is refused with its place: figures on half a benchmark look like any others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeVar

from almost_kedro.contract import digest
from almost_kedro.errors import UserError
from almost_kedro.rows.dialogues import MARKS
from almost_kedro.rows.evaluation import PairItem, Source

HUMAN, ASSISTANT = MARKS["user"], MARKS["assistant"]
CATEGORIES = ("helpful", "harmless", "honest", "other")
# These fields distinguish items; a dialogue may come again with other answers.
PAIR_FIELDS, QUESTION_FIELDS = ("dialogue", "chosen", "rejected"), ("question",)

Item = TypeVar("Item", bound=Mapping[str, object])


class Place(NamedTuple):
    """An item's place, as errors name it: a file or dataset, what is counted, which one."""

    source: str
    unit: str
    number: int

    def __str__(self) -> str:
        """Name the place."""
        return f"{self.source}, {self.unit} {self.number}"

    def refuse(self, found: str, expected: str) -> UserError:
        """Build the error that something else was expected here."""
        return UserError(f"{self}: {found}; {expected}")


def describe_source(
    name: str,
    kind: Literal["own", "file", "hub"],
    location: str,
    items: Sequence[Mapping[str, Any]],
    content: bytes | None,
) -> Source:
    """Describe where items are from, with a hash of the file's bytes or, without a file, the items.

    Args:
        kind: The set in `assets/benchmarks`, a file of the user's, or a hub dataset.
        location: Its path, or its name on the hub.
    """
    found = digest(list(items)) if content is None else hashlib.sha256(content).hexdigest()
    return Source(name=name, kind=kind, location=location, n=len(items), sha256=found)


def make_pair(
    position: int,
    category: str,
    dialogue: str,
    answers: Sequence[str],
    place: Place,
    expected: str,
) -> PairItem:
    """Build a pair; raise UserError if category, dialogue or answers are wrong.

    Args:
        position: The item's, counted from 1.
        dialogue: Up to and with its last cue.
        answers: The preferred one, and the other.
        expected: The format, for errors.
    """
    if category not in CATEGORIES:
        raise place.refuse(f"its category is {category!r:.60}", expected)
    if not dialogue.startswith(HUMAN):
        raise place.refuse(f"the dialogue starts with {dialogue[:20]!r}", expected)
    if not dialogue[dialogue.rindex(HUMAN) + len(HUMAN) : -len(ASSISTANT)].strip():
        raise place.refuse("the last question is empty", expected)
    chosen, rejected = (answer.strip() for answer in answers)
    for name, answer in (("chosen", chosen), ("rejected", rejected)):
        if not answer:
            raise place.refuse(f"{name} has no last answer", expected)
    if chosen == rejected:
        raise place.refuse("chosen and rejected are the same answer", expected)
    return PairItem(
        item_id=name_item("hhh", position),
        category=category,
        dialogue=dialogue,
        chosen=chosen,
        rejected=rejected,
    )


def order_choices(
    choices: Sequence[Any], labels: Sequence[Any], place: Place, expected: str
) -> list[str]:
    """Put the right choice first; the others keep their order.

    Raises UserError if a choice is no text, empty or repeated, or not exactly one is labelled 1.
    """
    for choice in choices:
        if not isinstance(choice, str) or not choice.strip():
            raise place.refuse(f"a choice is {choice!r:.60}", expected)
    texts = [choice.strip() for choice in choices]
    for text in texts:
        if texts.count(text) > 1:
            raise place.refuse(f"the choice {text!r:.60} is there twice", expected)
    for label in labels:
        if label not in (0, 1):
            raise place.refuse(f"a label is {label!r:.60}", expected)
    right = [text for text, label in zip(texts, labels, strict=True) if label == 1]
    if len(right) != 1:
        raise place.refuse(f"{len(right)} of {len(texts)} choices are labelled 1", expected)
    if len(texts) == 1:
        raise place.refuse("there is no wrong choice", expected)
    return right + [text for text in texts if text != right[0]]


def get_text(row: object, field: str, place: Place, expected: str) -> str:
    """Return a field of a row; raise UserError if it is missing, blank or not a text."""
    if not isinstance(row, Mapping):
        raise place.refuse(f"found {row!r:.60}", expected)
    if field not in row:
        names = ", ".join(map(str, row)) or "no fields"
        raise place.refuse(f"{field} is missing; found {names:.120}", expected)
    value = row[field]
    if not isinstance(value, str):
        raise place.refuse(f"{field} is not a text; found {value!r:.60}", expected)
    if not value.strip():
        raise place.refuse(f"{field} is empty", expected)
    return value


def collect_items(
    found: Iterable[tuple[Place, Item]], fields: Sequence[str], source: str
) -> list[Item]:
    """Collect items; raise UserError if there are none or one repeats an earlier one.

    Two items are the same if all of `fields` are. Errors name `source`.
    """
    places: dict[tuple[object, ...], Place] = {}
    items = []
    for place, item in found:
        first = places.setdefault(tuple(item[field] for field in fields), place)
        if first is not place:
            same = " and ".join(fields)
            raise place.refuse(f"the same {same} as in {first}", "keep one")
        items.append(item)
    if not items:
        raise UserError(f"{source}: no items; give a benchmark that has some")
    return items


def name_item(benchmark: str, position: int) -> str:
    """Name an item after its benchmark and its position, counted from 1."""
    return f"{benchmark}-{position:04d}"
