"""Rows as JSON lines, in files that appear whole or not at all; all figures in them are finite."""

from __future__ import annotations

import codecs
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from almost_kedro.errors import UserError
from almost_kedro.rows.finite import find_endless

# Characters. Ids, names and rules are no longer than this; most texts are.
SHORT = 64

REPLACE = "almost_kedro.replace"
# Bytes of a line that an error shows.
SHOWN = 60


def _replace_surrogates(error: UnicodeError) -> tuple[bytes, int]:
    assert isinstance(error, UnicodeEncodeError)
    return "\ufffd".encode() * (error.end - error.start), error.end


codecs.register_error(REPLACE, _replace_surrogates)


def encode(text: str) -> bytes:
    """Encode as UTF-8; half a surrogate pair, which UTF-8 can't hold, becomes U+FFFD.

    A server may send one. It must not destroy what was generated before it.
    """
    return text.encode("utf-8", REPLACE)


@contextmanager
def write_whole(path: Path) -> Iterator[BinaryIO]:
    """Open a file beside `path`; it replaces `path` once the block has ended without an error."""
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def dump(value: Any, what: str = "", indent: int | None = None) -> str:
    """Return a value as JSON; `indent` is in spaces, None writes one line.

    Raises UserError, which names `what`, for a number that is not finite: JSON has no such numbers.
    """
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent)
    except ValueError as exc:
        found = ", ".join(filter(None, [what, find_endless(value) or str(exc)]))
        raise UserError(f"{found}; only finite figures are written") from exc


def write_json(path: Path, document: Any) -> None:
    """Write a document, such as a program's cost; see `dump` for errors."""
    content = encode(dump(document, str(path)))
    with write_whole(path) as file:
        file.write(content)


def encode_rows(rows: Iterable[Mapping[str, Any]]) -> Iterator[bytes]:
    """Return each row as a line; see `dump` for errors."""
    for number, row in enumerate(rows, 1):
        # The first field is the row's own id.
        yield encode(dump(row, f"row {number} ({next(iter(row.values()), '')!r:.80})") + "\n")


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows one by one."""
    with write_whole(path) as file:
        file.writelines(encode_rows(rows))


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Read rows; raise ValueError with file and line of the first that is not a JSON object.

    NaN and infinities, which Python writes by default, are not JSON.
    """
    return (row for _, row in read_numbered_rows(path))


def read_numbered_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Read rows one by one, each with the number of its line; see `read_rows`."""
    # Bytes, since only "\n" ends a row: text may contain other line separators.
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line, parse_constant=refuse_constant)
            except ValueError as exc:
                # The beginning has the row's id.
                found = line[:SHOWN].decode(errors="replace").rstrip()
                raise ValueError(f"{path}, line {number}: not JSON ({exc}): {found}") from exc
            if not isinstance(row, dict):
                raise ValueError(f"{path}, line {number}: not a JSON object")
            yield number, row


def refuse_constant(name: str) -> NoReturn:
    """Raise ValueError for NaN and infinities, which JSON's readers pass by name."""
    raise ValueError(f"{name} is no finite number")


def share_texts(rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Let rows share the names of their fields and short texts (an id, a rule) in memory.

    The first field's value is left alone: it is the row's own id, which no other row has.
    """
    shared: dict[str, str] = {}

    def share(value: Any) -> Any:
        if isinstance(value, str):
            return shared.setdefault(value, value) if len(value) <= SHORT else value
        return [share(item) for item in value] if isinstance(value, list) else value

    for row in rows:
        own = next(iter(row), None)
        yield {
            sys.intern(name): value if name == own else share(value) for name, value in row.items()
        }
