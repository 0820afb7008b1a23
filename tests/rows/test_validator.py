"""The checks that the catalog runs on rows."""

import copy
from typing import Any

import pytest
from made_rows import ROWS, make_prompt
from pydantic import ValidationError

from almost_kedro.contract import row_id
from almost_kedro.rows.feedback import Comparisons, PromptRequests, Prompts, Responses
from almost_kedro.rows.json_lines import share_texts
from almost_kedro.rows.validator import CHUNK, RowsValidator

each_kind = pytest.mark.parametrize(("validator", "row"), ROWS)
each_field = pytest.mark.parametrize(
    ("validator", "row", "field"),
    [(validator, row, field) for validator, row in ROWS for field in row],
)


@each_kind
def test_good_rows_pass_unchanged(validator: type[RowsValidator], row: dict[str, Any]) -> None:
    rows = [row, row | {validator.key: "b"}]
    before = copy.deepcopy(rows)
    assert validator().validate(rows) is rows
    assert rows == before


@each_kind
def test_no_rows_pass(validator: type[RowsValidator], row: dict[str, Any]) -> None:
    assert validator().validate([]) == []


@each_field
def test_wrong_type_is_named_by_row_and_field(
    validator: type[RowsValidator], row: dict[str, Any], field: str
) -> None:
    with pytest.raises(ValueError, match=f"^row 2, {field}: .*; found 1.5$"):
        validator().validate([row, row | {validator.key: "b"} | {field: 1.5}])


@each_field
def test_missing_key_is_named_by_row_and_field(
    validator: type[RowsValidator], row: dict[str, Any], field: str
) -> None:
    short = {name: value for name, value in row.items() if name != field}
    with pytest.raises(ValueError, match=f"^row 1, {field}: Field required; found "):
        validator().validate([short])


@each_kind
def test_extra_key_is_named_by_row_and_field(
    validator: type[RowsValidator], row: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=r"^row 2, more: .* not permitted; found 'x'$"):
        validator().validate([row, row | {validator.key: "b", "more": "x"}])


@each_kind
def test_repeated_id_is_named_by_row_and_field(
    validator: type[RowsValidator], row: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=f"^row 3, {validator.key}: 'a' occurs twice$"):
        validator().validate([row, row | {validator.key: "b"}, row])


def test_rows_are_numbered_through_chunks() -> None:
    rows: list[Any] = [make_prompt(f"p{number}") for number in range(2 * CHUNK + 5)]
    assert Prompts().validate(rows) is rows
    wrong = [*rows[: CHUNK + 2], {**rows[0], "text": 7}, *rows[CHUNK + 2 :]]
    with pytest.raises(ValueError, match=f"^row {CHUNK + 3}, text: .*; found 7$"):
        Prompts().validate(wrong)
    with pytest.raises(ValueError, match=f"^row {2 * CHUNK + 6}, prompt_id: 'p3' occurs twice$"):
        Prompts().validate([*rows, rows[3]])


def test_what_is_no_list_is_named() -> None:
    data: Any = {"prompt_id": "a"}
    with pytest.raises(ValueError, match=r"^Input should be a valid list; found dict$"):
        Prompts().validate(data)


def test_sharing_texts_changes_no_row_and_keeps_one_of_each_short_text() -> None:
    def copy_text(text: str) -> str:
        return "".join(text)

    rows = [
        {copy_text("id"): f"{number}", "rule": copy_text("rule_12"), "of": [copy_text("parent")]}
        for number in range(2)
    ]
    before = copy.deepcopy(rows)
    first, second = share_texts(rows)
    assert [first, second] == rows == before
    assert first["rule"] is second["rule"]
    assert first["of"][0] is second["of"][0]
    assert first["of"] is not second["of"]
    assert next(iter(first)) is next(iter(second))


@pytest.mark.parametrize(
    ("validator", "changes", "where"),
    [
        (Responses, {"finish_reason": "eof"}, "row 1, finish_reason"),
        (Responses, {"n_tokens": "3"}, "row 1, n_tokens"),
        (PromptRequests, {"round": True}, "row 1, round"),
        (PromptRequests, {"shot_ids": ["s1", 2]}, "row 1, shot_ids.1"),
        (Comparisons, {"factors": ["size", "colour"]}, "row 1, factors.1"),
        (Prompts, {"text": None}, "row 1, text"),
    ],
)
def test_values_are_not_converted(
    validator: type[RowsValidator], changes: dict[str, Any], where: str
) -> None:
    row = next(row for kind, row in ROWS if kind is validator)
    with pytest.raises(ValueError, match=f"^{where}: "):
        validator().validate([row | changes])


def test_row_that_is_no_mapping_is_named() -> None:
    rows: Any = ["text"]
    with pytest.raises(ValueError, match=r"^row 1, the row: .*; found 'text'$"):
        Prompts().validate(rows)


def test_long_values_are_shortened_in_the_message() -> None:
    wrong: Any = make_prompt() | {"text": ["x" * 1000]}
    with pytest.raises(ValueError, match=r"^row 1, text: ") as error:
        Prompts().validate([wrong])
    assert len(str(error.value)) < 160


@pytest.mark.parametrize("fields", [{"more": "x"}, {"shot_ids": None}])
def test_no_test_makes_a_row_that_its_type_refuses(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(fields))):
        make_prompt(**fields)


def test_row_id_depends_on_every_part_and_where_it_ends() -> None:
    # SHA-256 of ["a","b",1]
    assert row_id("a", "b", 1) == "18948164fa1d1dc2"
    others = [row_id("ab", 1), row_id("a", "b"), row_id("a", "b", "1"), row_id("b", "a", 1)]
    assert len({row_id("a", "b", 1), *others}) == 5
