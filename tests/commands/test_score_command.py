"""`kedro score`: rewards of any file of dialogues and answers."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from sessions import kedro

from almost_kedro.commands.score.answers import list_answers, read_file, read_sides
from almost_kedro.errors import UserError

ASK = {"role": "user", "content": " Why? "}
ANSWER = {"role": "assistant", "content": "So.\n"}
DIALOGUE = "\n\nHuman: Why?\n\nAssistant:"


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [ASK, ANSWER]},
        {"prompt": "Why?", "completion": "So."},
        {"prompt": [ASK], "completion": [ANSWER], "id": 7},
        {"prompt": "Why?", "answer": "So."},
        {"prompt": [ASK], "response": " So."},
        {"dialogue": DIALOGUE, "answer": "So."},
        {"question": "Why?", "answer": "So.", "policy": "sft", "reward": 0.5},
    ],
)
def test_an_answer_is_read_in_every_form(row: dict[str, Any]) -> None:
    assert read_sides(row, "corrected") == {"answer": (DIALOGUE, "So.")}


def test_an_answer_of_which_nothing_counts_is_rewarded_where_a_policy_gave_it() -> None:
    row = {"question": "Why?", "answer": "", "policy": "sft"}
    assert read_sides(row, "corrected") == {"answer": (DIALOGUE, "")}
    with pytest.raises(ValueError, match="answer is 7 and no text"):
        read_sides({**row, "answer": 7}, "corrected")


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Why?", "chosen": "So.", "rejected": "No."},
        {"prompt": [ASK], "chosen": [ANSWER], "rejected": [{**ANSWER, "content": "No."}]},
        {"chosen": [ASK, ANSWER], "rejected": [ASK, {**ANSWER, "content": "No."}]},
    ],
)
def test_a_pair_is_read_in_every_form(row: dict[str, Any]) -> None:
    assert read_sides(row, "corrected") == {
        "chosen": (DIALOGUE, "So."),
        "rejected": (DIALOGUE, "No."),
    }


def test_earlier_turns_are_written_as_in_training() -> None:
    messages = [ASK, ANSWER, {"role": "user", "content": "And?"}, ANSWER]
    dialogue = "\n\nHuman: Why?\n\nAssistant: So.\n\nHuman: And?\n\nAssistant:"
    assert read_sides({"messages": messages}, "corrected") == {"answer": (dialogue, "So.")}
    assert read_sides({"messages": messages}, "original") == {"answer": (dialogue + " ", "So.")}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: is not JSON .*; give one object a line"),
        ("[1]", "line 2: is no JSON object; give one object a line"),
        (
            "{}",
            "line 2: found the columns none; a line has messages; prompt and completion .or answer",
        ),
        ('{"prompt": "Why?"}', "line 2: found the columns prompt; a line has"),
        ('{"prompt": "Why?", "completion": " "}', "line 2: answer is ' ' and no text; a line"),
        ('{"prompt": 3, "completion": "a"}', "line 2: prompt is 3 and no text; a line has"),
        ('{"messages": []}', "line 2: found .* and no list of messages; a line has"),
        (
            json.dumps({"messages": [ANSWER]}),
            "line 2: message 1 is of role 'assistant', and user is expected; a line has",
        ),
        (json.dumps({"messages": [ASK]}), "line 2: the last message is not the assistant's"),
        (
            json.dumps({"messages": [{"role": "user", "content": [{}]}, ANSWER]}),
            "line 2: message 1 has no text; a line has",
        ),
    ],
)
def test_a_bad_line_is_named(line: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text(json.dumps({"messages": [ASK, ANSWER]}) + "\n" + line)
    with pytest.raises(UserError, match=f"a.jsonl, {message}"):
        list_answers(read_file(file), file, "corrected")


def test_a_file_without_lines_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("\n\n")
    with pytest.raises(UserError, match=r"a\.jsonl: has no line to score"):
        list_answers(read_file(tmp_path / "a.jsonl"), tmp_path / "a.jsonl", "corrected")
    (tmp_path / "b.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match=r"b\.jsonl: is not UTF-8 text"):
        list(read_file(tmp_path / "b.jsonl"))


def score(project: Path, root: Path, *args: str) -> Any:
    return kedro(project, "score", *args, "--env", "smoke", "--params", f"data_root={root}")


def read(root: Path, name: str) -> list[dict[str, Any]]:
    [file] = root.glob(f"*/{name}.jsonl/*/{name}.jsonl")
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_the_rewards_are_those_of_the_run(project: Path, aligned: Path, tmp_path: Path) -> None:
    pairs = {row["comparison_id"]: row for row in read(aligned, "comparisons")}
    scored = read(aligned, "held_out_scores")
    before = len(list(aligned.glob("06_models/work/rewards-*")))
    file = tmp_path / "pairs.jsonl"
    file.write_text("".join(json.dumps(pairs[row["comparison_id"]]) + "\n" for row in scored))
    for model, name in (("held_out_reward_model", "held_out"), ("reward_model", "reward")):
        done = score(project, aligned, str(file), "--model", model)
        assert done.returncode == 0, done.stderr
        found = [json.loads(line) for line in done.stdout.splitlines()]
        assert [row["line"] for row in found] == list(range(1, len(scored) + 1))
        for row, kept in zip(found, scored, strict=True):
            assert row["chosen"] == pytest.approx(kept[f"{name}_chosen"], abs=1e-4)
            assert row["rejected"] == pytest.approx(kept[f"{name}_rejected"], abs=1e-4)
            assert row["margin"] == row["chosen"] - row["rejected"]
    # Kept in a folder for each model, as rewards of the pipelines are.
    assert len(list(aligned.glob("06_models/work/rewards-*"))) == before + 2


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["a.jsonl"], "reward_model was never trained: nothing in .*/06_models/reward_model; run "),
        (["a.jsonl", "--model", "rl"], "reward model 'rl': unknown; there are reward_model, "),
    ],
)
def test_without_a_reward_model_one_line_says_so(
    args: list[str], message: str, project: Path, tmp_path: Path
) -> None:
    done = score(project, tmp_path, *args)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert re.match(f"Error: {message}", done.stderr.splitlines()[-1])
