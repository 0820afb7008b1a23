"""Rows in the formats of the field."""

from pathlib import Path
from typing import Any

import pytest
from made_rows import make_comparison, make_demonstration, make_splits

from almost_kedro.commands.export.folder import write_folder, write_split
from almost_kedro.commands.export.formats import MAKERS
from almost_kedro.commands.export.splits import FILES, sort_rows
from almost_kedro.errors import UserError
from almost_kedro.feedback.splits import TRAINED
from almost_kedro.rows.feedback import Comparison
from almost_kedro.rows.training import AsIsPair, Demonstration, MismatchedPair

TWO_TURNS = "\n\nHuman: Why?\n\nAssistant: Because.\n\nHuman: Really?\n\nAssistant: "


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def make(kind: type, form: Any, rows: list[Any]) -> list[Any]:
    return list(MAKERS[kind][form](rows))


def test_a_comparison_is_a_preference_with_all_its_ids() -> None:
    assert make(Comparison, "preference", [make_comparison("c1")]) == [
        {
            "comparison_id": "c1",
            "prompt_id": "p-c1",
            "chosen_id": "a-c1",
            "rejected_id": "b-c1",
            "chosen_assistant": "A",
            "rejected_assistant": "B",
            "prompt": [user("Why?")],
            "chosen": [assistant("Because.")],
            "rejected": [assistant("No.")],
        }
    ]


def test_an_answer_that_beats_two_is_learned_once() -> None:
    rows = [make_comparison("c1"), make_comparison("c2", chosen_id="a-c1", prompt_id="p-c1")]
    completions = make(Comparison, "prompt-completion", rows)
    expected = {"row_id": "a-c1", "prompt_id": "p-c1", "prompt": [user("Why?")]}
    assert completions == [{**expected, "completion": [assistant("Because.")]}]
    [whole] = make(Comparison, "messages", rows)
    assert whole["messages"] == [user("Why?"), assistant("Because.")]


def test_a_demonstration_is_a_completion_of_its_dialogue() -> None:
    row = make_demonstration(turn=2, dialogue=TWO_TURNS, answer="Yes.")
    [found] = make(Demonstration, "prompt-completion", [row])
    assert found["row_id"] == "d-c1"
    assert found["prompt"] == [user("Why?"), assistant("Because."), user("Really?")]
    assert found["completion"] == [assistant("Yes.")]


def test_a_dialogue_is_exported_whole_and_once() -> None:
    rows = [
        make_demonstration("c1"),
        make_demonstration("c2", turn=2, dialogue=TWO_TURNS, answer="Yes."),
    ]
    [found] = make(Demonstration, "messages", rows)
    assert found["row_id"] == "d-c2"
    assert [each["content"] for each in found["messages"]] == [
        "Why?",
        "Because.",
        "Really?",
        "Yes.",
    ]


def test_no_dialogue_goes_on_after_an_answer_that_was_dropped() -> None:
    third = TWO_TURNS + "Yes.\n\nHuman: So?\n\nAssistant:"
    first, second, last = (
        make_demonstration("c1"),
        make_demonstration("c2", turn=2, dialogue=TWO_TURNS),
        make_demonstration("c3", turn=3, dialogue=third),
    )
    assert [row["row_id"] for row in make(Demonstration, "messages", [first, last])] == ["d-c1"]
    assert make(Demonstration, "messages", [second, last]) == []


def test_a_pair_of_the_user_needs_no_ids() -> None:
    row = {"pair_id": "x1", "prompt": "Why?", "chosen": "Because.", "rejected": "No."}
    [found] = make(AsIsPair, "preference", [row])
    assert (found["comparison_id"], found["chosen_assistant"]) == ("x1", "")


def test_a_mismatched_pair_rejects_an_answer_to_another_prompt() -> None:
    row = {"mismatched_id": "m1", "comparison_id": "c1", "prompt_id": "p1", "prompt": "Why?"}
    row |= {"chosen": "Because.", "chosen_id": "r1", "rejected": "Blue.", "rejected_id": "r2"}
    [found] = make(MismatchedPair, "preference", [{**row, "rejected_prompt_id": "p2"}])
    assert (found["comparison_id"], found["prompt_id"], found["rejected_id"]) == ("m1", "p1", "r2")
    assert found["prompt"] == [{"role": "user", "content": "Why?"}]
    assert found["rejected"] == [{"role": "assistant", "content": "Blue."}]


def test_only_prompts_that_judge_nothing_are_for_training() -> None:
    judged = {"held_out", "policy_test", "watch", "held_out_reward_model", "contaminated"}
    splits = make_splits({f"p-{split}": split for split in FILES})
    rows = [{"prompt_id": row["prompt_id"]} for row in splits]
    files, uses, left_out = sort_rows("comparisons", rows, splits)
    assert uses["test"] == "held_out, policy_test, watch"
    train = {row["prompt_id"].removeprefix("p-") for row in files["train"]}
    assert train == set(FILES) - judged == set(TRAINED) - judged
    assert [row["prompt_id"] for row in files["judge"]] == ["p-held_out_reward_model"]
    assert left_out == 1
    assert sum(map(len, files.values())) == len(FILES) - 1


def test_rows_of_the_user_are_for_training() -> None:
    found = sort_rows("as_is_pairs", [{"prompt_id": ""}, {"prompt_id": ""}], [])
    assert found == ({"train": [{"prompt_id": ""}] * 2}, {"train": "your own"}, 0)


def test_a_prompt_without_a_split_is_refused() -> None:
    message = "^comparisons: prompt p2 has no split, so it is of another version"
    with pytest.raises(UserError, match=message):
        sort_rows("comparisons", [{"prompt_id": "p2"}], make_splits({"p1": "held_out"}))


@pytest.mark.parametrize("file_type", ["parquet", "jsonl"])
def test_half_a_surrogate_pair_is_replaced(file_type: Any, tmp_path: Path) -> None:
    from datasets import Dataset

    file = tmp_path / f"train.{file_type}"
    row = make_comparison("c1", chosen="so \ud83d.")
    write_split(file, make(Comparison, "preference", [row]), "preference", file_type)
    read = Dataset.from_parquet if file_type == "parquet" else Dataset.from_json
    assert read(str(file), cache_dir=str(tmp_path))[0]["chosen"] == [assistant("so \ufffd.")]


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    folder = tmp_path / "new/export"

    def write_half() -> None:
        with write_folder(folder) as part:
            (part / "half").touch()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_half()
    assert list(folder.parent.iterdir()) == []
    folder.mkdir()
    with write_folder(folder) as part:
        (part / "whole").touch()
        assert list(folder.iterdir()) == []
    assert [file.name for file in folder.parent.rglob("*")] == ["export", "whole"]


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    with pytest.raises(UserError, match="is not empty; give a new or"), write_folder(tmp_path):
        pytest.fail("it was opened")
    with pytest.raises(UserError, match="is no folder"), write_folder(tmp_path / "mine"):
        pytest.fail("it was opened")
    below = tmp_path / "mine/below"
    with pytest.raises(UserError, match="can't be made there"), write_folder(below):
        pytest.fail("it was opened")
    assert [file.name for file in tmp_path.iterdir()] == ["mine"]
