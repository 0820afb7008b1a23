"""The checks that the catalog runs on rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


# Rows checked at once: pydantic copies what it checks.
CHUNK = 1000


class RowsValidator:
    """Checks rows against their type on load and save; named in the catalog as `validator:`.

    A subclass also tells `kedro trace` all that it knows about its rows.

    Attributes:
        key: The field that holds a row's id.
        parents: Fields that hold the id of a parent, or a list of ids, each with the datasets that
            may hold the parent.
        roles: For lists whose order tells what each parent is: its name in the trace.
        texts: Fields that are shown as text; the others are shown as facts.
        model: The field that names the model that wrote the row, either of the row or of `plan`.
        plan: The document with each model's fingerprint.
        traced: False if the rows only say more about rows of another dataset, and have their ids.
    """

    row: Any
    key: str
    parents: ClassVar[Mapping[str, Sequence[str]]] = {}
    roles: ClassVar[Mapping[str, Sequence[str]]] = {}
    texts: ClassVar[Sequence[str]] = ()
    model: ClassVar[str | None] = None
    plan: ClassVar[str] = "feedback_plan"
    traced: ClassVar[bool] = True

    def validate(self, data: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the rows; raise ValueError for the first bad one, by field, or a repeated id."""
        if not isinstance(data, list):
            raise ValueError(f"Input should be a valid list; found {type(data).__name__}")
        for start in range(0, len(data), CHUNK):
            self.check(data[start : start + CHUNK], start)
        seen: set[str] = set()
        for number, row in enumerate(data, 1):
            if row[self.key] in seen:
                raise ValueError(f"row {number}, {self.key}: {row[self.key]!r} occurs twice")
            seen.add(row[self.key])
        return data

    @cached_property
    def _adapter(self) -> TypeAdapter[Any]:
        return TypeAdapter(list[self.row])  # type: ignore[name-defined]

    def check(self, rows: list[dict[str, Any]], start: int = 0) -> None:
        """Raise ValueError for the first bad row; `start` rows came before these."""
        try:
            self._adapter.validate_python(rows)
        except ValidationError as exc:
            error = exc.errors()[0]
            number, *field = error["loc"]
            where = ".".join(map(str, field)) or "the row"
            # Other errors name only the row number: the id may be what is wrong.
            endless = error["type"] == "finite_number"
            id_ = f" in {self.key} {rows[int(number)].get(self.key)!r}" if endless else ""
            raise ValueError(
                f"row {start + int(number) + 1}, {where}: {error['msg']}; "
                f"found {error['input']!r:.80}{id_}"
            ) from exc
