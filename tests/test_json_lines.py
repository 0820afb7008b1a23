"""Files appear whole or not at all, and rows survive as JSON lines."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from almost_kedro.json_lines import read_rows, write_rows

ROWS = [{"id": "007", "text": "1\u20282\x85 \x00 naïve 🧑\u200d🔬"}, {"id": "8", "text": ""}]


def test_rows_come_back_one_a_line(tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.jsonl", iter(ROWS))
    assert list(read_rows(tmp_path / "rows.jsonl")) == ROWS
    assert (tmp_path / "rows.jsonl").read_bytes().count(b"\n") == 2
    assert "naïve 🧑" in (tmp_path / "rows.jsonl").read_text(encoding="utf-8")


def test_what_fails_halfway_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def rows() -> Iterator[dict[str, str]]:
        yield from ROWS * 1000
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_rows(path, rows())
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_blank_lines_and_a_byte_order_mark_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}\r\n\n{"a": 2}')
    assert list(read_rows(path)) == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize(
    ("line", "message"),
    [(b'{"a": ', "not JSON"), (b'{"a": "\xff"}', "not JSON"), (b"[1]", "not a JSON object")],
)
def test_a_line_that_is_no_row_is_named(line: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"a": 1}\n' + line + b"\n")
    with pytest.raises(ValueError, match=f"rows.jsonl, line 2: {message}"):
        list(read_rows(path))
