"""Files appear whole or not at all, and rows survive as JSON lines."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from almost_kedro.errors import UserError
from almost_kedro.rows.finite import find_endless, require_finite
from almost_kedro.rows.json_lines import dump, read_rows, write_json, write_rows

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
    [
        (b'{"a": ', "not JSON"),
        (b'{"a": "\xff"}', "not JSON"),
        (b"[1]", "not a JSON object"),
        (b'{"a": [NaN]}', r'not JSON \(NaN is no finite number\): {"a": \[NaN'),
        (b'{"a": -Infinity}', r"not JSON \(-Infinity is no finite number\)"),
    ],
)
def test_a_line_that_is_no_row_is_named(line: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"a": 1}\n' + line + b"\n")
    with pytest.raises(ValueError, match=f"rows.jsonl, line 2: {message}"):
        list(read_rows(path))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_figure_that_is_not_finite_is_not_written_and_its_row_is_named(
    value: float, tmp_path: Path
) -> None:
    rows = [{"id": "a", "reward": 1.0}, {"id": "b", "of": [{"reward": 0.5}, {"reward": value}]}]
    message = rf"^row 2 \('b'\), of.1.reward is {value}; only finite figures are written$"
    with pytest.raises(UserError, match=message):
        write_rows(tmp_path / "rewards.jsonl", rows)
    with pytest.raises(UserError, match=rf"metrics.json, a.b is {value}; only"):
        write_json(tmp_path / "metrics.json", {"a": {"b": value}})
    assert list(tmp_path.iterdir()) == []


DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)


@given(DOCUMENTS)
def test_what_is_written_is_json_that_others_read_or_is_refused(document: Any) -> None:
    def refuse(name: str) -> None:
        raise AssertionError(name)

    if find_endless(document):
        with pytest.raises(UserError, match="only finite figures are written"):
            dump(document)
    else:
        assert json.loads(dump(document), parse_constant=refuse) == document


@given(st.floats())
def test_a_figure_is_returned_or_refused(value: float) -> None:
    if math.isfinite(value):
        assert require_finite(value, "the reward of a") == value
    else:
        with pytest.raises(UserError, match=f"^the reward of a is {value}; only finite figures"):
            require_finite(value, "the reward of a")
