"""Preference sets as files: what they become, and what is refused, with file, line and field."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from almost_kedro.errors import UserError
from almost_kedro.evaluation.benchmark_sources import read_benchmarks
from almost_kedro.evaluation.preference_files import read_preferences
from almost_kedro.options.evaluation import EvaluationOptions

ROW = {"prompt": " Why? ", "chosen": " So.", "rejected": "No. ", "subset": "easy", "id": 7}
ASKED = [
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Yes?"},
    {"role": "user", "content": "Why?"},
]
PLAIN = {name: ROW[name] for name in ("prompt", "chosen", "rejected")}


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write lines: rows as JSON, texts as they are."""

    def write_file(*rows: Any) -> Path:
        path = tmp_path / "prefs.jsonl"
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    return write_file


def test_a_line_is_a_dialogue_and_its_answers(write: Callable[..., Path]) -> None:
    four = {**ROW, "prompt": ASKED, "chosen": ["So."], "rejected": ["a", "b", "c"]}
    first, second = read_preferences("mine", write(ROW, "", four))
    assert first["prompt_id"] != second["prompt_id"]
    assert first == {
        "item_id": "mine-0001",
        "set": "mine",
        "prompt_id": first["prompt_id"],
        "category": "easy",
        "dialogue": "\n\nHuman: Why?\n\nAssistant:",
        "choices": ["So.", "No."],
    }
    assert second["item_id"] == "mine-0002"
    assert second["dialogue"] == "\n\nHuman: Hi\n\nAssistant: Yes?\n\nHuman: Why?\n\nAssistant:"
    assert second["choices"] == ["So.", "a", "b", "c"]


def test_items_of_one_prompt_share_its_id(write: Callable[..., Path]) -> None:
    first, second = read_preferences("mine", write(ROW, {**ROW, "rejected": "Never."}))
    assert first["prompt_id"] == second["prompt_id"]


def test_a_file_without_subsets_is_one_whole(write: Callable[..., Path]) -> None:
    assert [row["category"] for row in read_preferences("mine", write(PLAIN, PLAIN))] == ["", ""]


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        ((ROW, "{"), "line 2: not JSON"),
        ((ROW, [1]), "line 2: found [1]"),
        ((ROW, PLAIN), "line 2: subset is missing"),
        ((PLAIN, ROW), "line 2: it has a subset, but the lines before have none"),
        (({**ROW, "subset": 3},), "line 1: subset is not a text"),
        (({**ROW, "prompt": ""},), "line 1: prompt is empty"),
        (({"chosen": "a", "rejected": "b"},), "line 1: prompt is missing"),
        (({**ROW, "prompt": []},), "line 1: prompt: found []"),
        (
            ({**ROW, "prompt": [{"role": "system", "content": "Be kind."}]},),
            "line 1: prompt: message 1 is of role 'system'",
        ),
        (({**ROW, "prompt": ASKED[:2]},), "line 1: prompt: its last message is the assistant's"),
        (({**ROW, "chosen": None},), "line 1: chosen is not a text"),
        (({**ROW, "chosen": ["a", "b"]},), "line 1: chosen has 2 texts"),
        (({**ROW, "rejected": []},), "line 1: rejected is an empty list"),
        (({**ROW, "rejected": ["a", " "]},), "line 1: rejected, text 2: found ' '"),
        (({**ROW, "rejected": "So."},), "line 1: chosen and rejected are the same answer"),
        (("", " "), "no items"),
    ],
)
def test_what_is_wrong_is_named(
    rows: tuple[Any, ...], found: str, write: Callable[..., Path]
) -> None:
    path = write(*rows)
    with pytest.raises(UserError) as error:
        read_preferences("mine", path)
    message = str(error.value)
    assert message.startswith(f"{path}")
    assert found in message
    assert "\n" not in message
    assert "each line needs prompt" in message


def test_sets_are_read_with_the_benchmarks_and_as_far_as_the_limit(
    write: Callable[..., Path], project: Path
) -> None:
    path = write(*({**ROW, "rejected": f"No {number}."} for number in range(4)))
    options = EvaluationOptions(preferences={"mine": str(path)}, limit=2)
    *_, items, sources = read_benchmarks(options, project / "assets/benchmarks")
    assert [item["choices"][1] for item in items] == ["No 0.", "No 2."]
    source = sources["preferences.mine"]
    assert (source["kind"], source["location"], source["n"]) == ("file", str(path), 4)


@pytest.mark.parametrize("name", ["hhh", "held_out", "mc1", "open", "a/b", "", "a b"])
def test_a_name_that_ids_could_not_have_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="the name"):
        EvaluationOptions(preferences={name: "x.jsonl"})
