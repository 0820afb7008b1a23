from pathlib import Path

from almost_kedro.generation.client import read_answers
from almost_kedro.generation.engine import Completion
from almost_kedro.json_lines import write_rows


def test_answers_are_read_one_by_one(tmp_path: Path) -> None:
    completions = [Completion("naïve \u2028", "eos", 2), Completion("", "eos", 0)]
    rows = [{"key": f"k{i}", **each.__dict__} for i, each in enumerate(completions)]
    write_rows(tmp_path / "answers_0.jsonl", rows)
    with (tmp_path / "answers_0.jsonl").open("a") as file:
        file.write("not read yet")
    answers = read_answers(tmp_path / "answers_0.jsonl")
    read = [next(answers), next(answers)]
    assert read == [("k0", completions[0]), ("k1", completions[1])]
    assert read[0][1].finish_reason is read[1][1].finish_reason
