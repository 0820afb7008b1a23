"""`kedro rows --tokens`, as a user meets it; the tiny tokenizer has a token for each byte."""

import re
from pathlib import Path
from typing import Any

import pytest
from kedro.io import Version
from made_responses import make_numbered, open_responses
from option_values import make_options
from sessions import kedro

from almost_kedro.commands.tokens import READINGS, name_parts, tabulate
from almost_kedro.models.tokens import Encoder
from almost_kedro.rows.json_lines import read_rows
from almost_kedro.training.tokens_job import ReadText

LINE = re.compile(r"(\d+) +(\d+) +(\S+) +'(.+)' +(dialogue|answer|eos) *(.*?) *")
TEXT: ReadText = {
    "id": "r",
    "field": "answer",
    "n_dialogue": 2,
    "n_end": 1,
    "cut": 3,
    "ids": [7, 8, 9, 2],
    "labels": [-100, -100, 9, 2],
    "names": ["A", "Ċ", "ĠB", "<eos>"],
    "texts": ["A", "\n", " B", "<eos>"],
}
READ = [["0", "7", "A", "'A'", "dialogue"], ["1", "8", "Ċ", "'\n'", "dialogue"]]
READ += [["2", "9", "ĠB", "' B'", "answer"], ["3", "2", "<eos>", "'<eos>'", "eos"]]


def show(project: Path, root: Path, *args: str) -> Any:
    params = ("--env", "smoke", "--params", f"data_root={root}")
    return kedro(project, "rows", *args, "--tokens", *params)


def read_lines(output: str) -> list[tuple[str, ...]]:
    found = [LINE.fullmatch(line) for line in output.splitlines()]
    return [match.groups() for match in found if match]


@pytest.mark.parametrize(
    ("reader", "uses"),
    [
        ("sft", ["", "", "in the loss", "in the loss"]),
        ("reward_model", ["", "", "", "reward read here"]),
    ],
)
def test_a_table_says_what_each_token_is_for(reader: str, uses: list[str]) -> None:
    own = {"model": "local", "learning_rate": 1e-5, "batch_size": 4, "max_length": 4}
    table = tabulate(TEXT, reader, make_options(**{reader: own}))
    assert [list(row) for row in table.rows] == [
        [*row, use] for row, use in zip(READ, uses, strict=True)
    ]
    assert table.caption == (
        "answer of r: 4 tokens of local, 2 of them the dialogue's "
        f"({reader}.max_length 4); 3 before them are cut off"
    )


def test_all_that_a_template_puts_after_an_answer_is_its_end() -> None:
    assert name_parts(TEXT) == ["dialogue", "dialogue", "answer", "eos"]
    longer: ReadText = {**TEXT, "n_end": 2, "ids": [7, 8, 9, 2, 10]}
    assert name_parts(longer) == ["dialogue", "dialogue", "answer", "end", "end"]


def test_a_pair_is_two_texts_that_end_where_the_reward_is_read(
    aligned: Path, project: Path, tiny_models: dict[str, Path]
) -> None:
    [*_, newest] = sorted(aligned.glob("*/reward_pairs.jsonl/*/reward_pairs.jsonl"))
    row = list(read_rows(newest))[1]
    id_ = row["comparison_id"]
    done = show(project, aligned, "reward_pairs", "--where", f"comparison_id={id_}")
    assert done.returncode == 0, done.stderr
    assert all(c.isprintable() or c == "\n" for c in done.stdout)
    heads = [line for line in done.stdout.splitlines() if line.startswith(("chosen", "rejected"))]
    assert [head.split(" of tiny-large")[0] for head in heads] == [
        f"{side} of {id_}: {len(row_bytes(row, side)) + 1} tokens"
        for side in ("chosen", "rejected")
    ]
    lines = read_lines(done.stdout)
    expected: list[int] = []
    for side in ("chosen", "rejected"):
        encoder = Encoder(tiny_models["tiny-large"])
        [ids] = encoder.encode([row_bytes(row, side).decode()])
        expected += [*ids, encoder.tokenizer.eos_token_id]
    assert [int(line[1]) for line in lines] == expected
    ends = [line for line in lines if line[4] == "eos"]
    assert [line[5] for line in ends] == ["reward read here"] * 2
    assert {line[5] for line in lines if line[4] != "eos"} == {""}


def row_bytes(row: dict[str, Any], side: str) -> bytes:
    text: str = f"\n\nHuman: {row['prompt']}\n\nAssistant: {row[side]}"
    return text.encode()


@pytest.mark.slow
def test_a_demonstration_is_one_text_whose_answer_is_in_the_loss(
    aligned: Path, project: Path
) -> None:
    done = show(project, aligned, "sft_demonstrations", "--limit", "2")
    assert done.returncode == 0, done.stderr
    lines = read_lines(done.stdout)
    assert [line[0] for line in lines].count("0") == 2
    assert {line[4:] for line in lines} == {
        ("dialogue", ""),
        ("answer", "in the loss"),
        ("eos", "in the loss"),
    }


@pytest.mark.parametrize(
    ("dataset", "key", "text"),
    [
        ("rollouts", "rollout_id", "completion"),
        ("sft_answers", "answer_id", "text"),
        ("rl_answers", "answer_id", "text"),
    ],
)
def test_answers_are_read_with_their_prompts(dataset: str, key: str, text: str) -> None:
    reading = READINGS[dataset]
    assert (reading.reader, reading.fields, reading.needs_prompts) == (
        "reward_model",
        ("answer",),
        True,
    )
    rows = [{key: "r", "prompt_id": "p", text: "Yes."}]
    assert reading.build(rows, "corrected", {"p": "Why?"}) == [
        {"id": "r", "dialogue": "\n\nHuman: Why?\n\nAssistant:", "answer": "Yes."}
    ]


def test_rows_that_nothing_is_read_from_are_one_clear_line(project: Path, tmp_path: Path) -> None:
    path = tmp_path / "03_primary/responses.parquet"
    open_responses(path, Version(None, "v1")).save([make_numbered(0)])
    done = show(project, tmp_path, "responses")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1] == (
        "Error: --tokens: no program reads responses as a dialogue and an answer; give one of "
        + ", ".join(READINGS)
    )
