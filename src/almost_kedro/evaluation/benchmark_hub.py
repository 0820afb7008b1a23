"""Turns rows of the hub's benchmark datasets into items; the caller loads them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from almost_kedro.evaluation.benchmarks import (
    ASSISTANT,
    HUMAN,
    PAIR_FIELDS,
    QUESTION_FIELDS,
    Place,
    collect_items,
    get_text,
    make_pair,
    name_item,
    order_choices,
)
from almost_kedro.rows.evaluation import ChoiceItem, PairItem

PAIR_FORMAT = (
    'each row needs input, a text, and targets: {"choices": [two texts], "labels": [1, 0]}, in the '
    "configurations helpful, harmless, honest and other"
)
CHOICE_FORMAT = (
    'each row needs question, a text, and mc1_targets: {"choices": [texts], "labels": [1, 0, ...]}'
)


def pairs_from_hub(
    subsets: Mapping[str, Iterable[Mapping[str, Any]]], source: str
) -> list[PairItem]:
    r"""Turn the rows of HuggingFaceH4/hhh_alignment into pairs.

    Its `input` is the dialogue without the first "\n\nHuman:" and the last "\n\nAssistant:"; the
    turns in between have theirs. `subsets` has the rows of each configuration, which is their
    category. Errors name `source`.

    Raises UserError for the first row that is repeated or not of this format.
    """
    rows = [
        (Place(f"{source} ({category})", "row", number), category, row)
        for category, subset in subsets.items()
        for number, row in enumerate(subset, 1)
    ]
    return collect_items(
        (
            (place, _pair_from_hub(row, place, position, category))
            for position, (place, category, row) in enumerate(rows, 1)
        ),
        PAIR_FIELDS,
        source,
    )


def _pair_from_hub(row: Mapping[str, Any], place: Place, position: int, category: str) -> PairItem:
    dialogue = f"{HUMAN} {get_text(row, 'input', place, PAIR_FORMAT).strip()}{ASSISTANT}"
    choices = _order_hub_choices(row, "targets", place, PAIR_FORMAT)
    if len(choices) != 2:
        raise place.refuse(f"targets has {len(choices)} choices", PAIR_FORMAT)
    return make_pair(position, category, dialogue, choices, place, PAIR_FORMAT)


def choices_from_hub(rows: Iterable[Mapping[str, Any]], source: str) -> list[ChoiceItem]:
    """Turn the rows of truthful_qa, configuration multiple_choice, into items of MC1.

    Raises UserError for the first row of another format or with a question that was there before.
    """
    places = ((Place(source, "row", number), row) for number, row in enumerate(rows, 1))
    found = (
        (
            place,
            ChoiceItem(
                item_id=name_item("mc1", place.number),
                category="",
                question=get_text(row, "question", place, CHOICE_FORMAT).strip(),
                choices=_order_hub_choices(row, "mc1_targets", place, CHOICE_FORMAT),
            ),
        )
        for place, row in places
    )
    return collect_items(found, QUESTION_FIELDS, source)


def _order_hub_choices(
    row: Mapping[str, Any], field: str, place: Place, expected: str
) -> list[str]:
    targets = row.get(field)
    if not isinstance(targets, Mapping):
        raise place.refuse(f"{field} is {targets!r:.60}", expected)
    choices, labels = targets.get("choices"), targets.get("labels")
    if not isinstance(choices, list) or not isinstance(labels, list):
        raise place.refuse(f"{field} is {targets!r:.60}", expected)
    if len(choices) != len(labels):
        raise place.refuse(f"{len(choices)} choices, but {len(labels)} labels", expected)
    return order_choices(choices, labels, place, expected)
