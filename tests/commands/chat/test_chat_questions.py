"""Questions for a chat, from a file."""

from pathlib import Path

import pytest

from almost_kedro.commands.chat.questions import read_questions
from almost_kedro.errors import UserError


@pytest.mark.parametrize(
    ("content", "questions"),
    [
        ("Why?\n\n  And so? \r\n", ["Why?", "And so?"]),
        ('\ufeff{"prompt": "Why?"}\n{"id": 1, "prompt": " And\\nso? "}\n', ["Why?", "And\nso?"]),
        ("[1] Why?\nA line\u2028break", ["[1] Why?", "A line\u2028break"]),
    ],
)
def test_questions_are_lines_or_json_lines(
    content: str, questions: list[str], tmp_path: Path
) -> None:
    (tmp_path / "asked").write_text(content)
    assert read_questions(str(tmp_path / "asked")) == questions


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"\n \n", "--ask FILE: there is no question in it; give one a line"),
        (b"Why\xff?", "--ask FILE: not UTF-8 (invalid start byte); convert it"),
        (
            b'{"prompt": "Why?"}\n{"text": "Why?"}',
            '--ask FILE, line 2: no JSON object with a "prompt"; write {"prompt": "..."}',
        ),
    ],
)
def test_a_file_without_questions_is_one_line(content: bytes, line: str, tmp_path: Path) -> None:
    file = tmp_path / "asked"
    file.write_bytes(content)
    with pytest.raises(UserError) as raised:
        read_questions(str(file))
    assert str(raised.value) == line.replace("FILE", str(file))


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    for file, reason in ((tmp_path / "no", "No such file or directory"), (tmp_path, "Is a dir")):
        with pytest.raises(UserError, match=f"^--ask {file}: {reason}.*; give a file with a"):
            read_questions(str(file))
