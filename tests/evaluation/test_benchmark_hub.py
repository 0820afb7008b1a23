"""Rows of the hub's datasets: what they become, and what is refused, with its row."""

from collections.abc import Mapping
from typing import Any

import pytest

from almost_kedro.errors import UserError
from almost_kedro.evaluation.benchmark_hub import choices_from_hub, pairs_from_hub

HUB_PAIR = {"input": "Why?", "targets": {"choices": ["So.", "No."], "labels": [1, 0]}}
HUB_CHOICE = {"question": "Is it?", "mc1_targets": {"choices": ["No.", "Yes."], "labels": [0, 1]}}


def test_hub_pairs_get_the_cues_that_their_rows_lack() -> None:
    later = {
        "input": "Hi\n\nAssistant: Yes?\n\nHuman: Why?",
        "targets": {"choices": ["No.", " So. "], "labels": [0, 1]},
    }
    assert pairs_from_hub({"harmless": [HUB_PAIR], "other": [later]}, "hub/hhh") == [
        {
            "item_id": "hhh-0001",
            "category": "harmless",
            "dialogue": "\n\nHuman: Why?\n\nAssistant:",
            "chosen": "So.",
            "rejected": "No.",
        },
        {
            "item_id": "hhh-0002",
            "category": "other",
            "dialogue": "\n\nHuman: Hi\n\nAssistant: Yes?\n\nHuman: Why?\n\nAssistant:",
            "chosen": "So.",
            "rejected": "No.",
        },
    ]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"targets": HUB_PAIR["targets"]}, "input is missing; found targets"),
        ({**HUB_PAIR, "targets": None}, "targets is None"),
        ({**HUB_PAIR, "targets": {"choices": ["A."]}}, "targets is {'choices': ['A.']}"),
        (
            {**HUB_PAIR, "targets": {"choices": ["A.", "B."], "labels": [1]}},
            "2 choices, but 1 labels",
        ),
        (
            {**HUB_PAIR, "targets": {"choices": ["A.", "B.", "C."], "labels": [1, 0, 0]}},
            "targets has 3 choices",
        ),
        (
            {**HUB_PAIR, "targets": {"choices": ["A.", "B."], "labels": [1, 1]}},
            "2 of 2 choices are labelled 1",
        ),
        (HUB_PAIR, "the same dialogue and chosen and rejected as in hub (other), row 1; keep one"),
    ],
)
def test_a_wrong_hub_pair_is_named_by_its_row(row: Mapping[str, Any], said: str) -> None:
    with pytest.raises(UserError) as error:
        pairs_from_hub({"other": [HUB_PAIR, row]}, "hub")
    assert str(error.value).startswith(f"hub (other), row 2: {said}")


def test_another_configuration_of_the_hub_dataset_is_refused() -> None:
    with pytest.raises(UserError, match=r"^hub \(main\), row 1: its category is 'main'; each row"):
        pairs_from_hub({"main": [HUB_PAIR]}, "hub")


def test_hub_questions_have_the_right_choice_first() -> None:
    assert choices_from_hub([HUB_CHOICE], "hub") == [
        {"item_id": "mc1-0001", "category": "", "question": "Is it?", "choices": ["Yes.", "No."]}
    ]
    with pytest.raises(UserError, match=r"^hub, row 2: the same question as in hub, row 1; keep"):
        choices_from_hub([HUB_CHOICE, HUB_CHOICE], "hub")
    with pytest.raises(UserError, match=r"^hub, row 1: mc1_targets is None; each row needs "):
        choices_from_hub([{"question": "Is it?"}], "hub")
