"""The rows that go from step to step, and the checks that the catalog runs on them."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

from almost_kedro.generation.engine import FinishReason, digest

Factor = Literal["size", "shots", "demonstrations", "topic"]
STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
# Rows checked at once: pydantic copies what it checks.
CHUNK = 1000
# Ids, names and rules are no longer than this, most texts are.
SHORT = 64


@with_config(STRICT)
class Seed(TypedDict):
    """A seed prompt, as a row; its dataset is the seed file, whose lines have no ids."""

    seed_id: str
    text: str


@with_config(STRICT)
class PromptRequest(TypedDict):
    """One request for a prompt, and what the model wrote."""

    request_id: str
    round: int
    shot_ids: list[str]
    output: str
    finish_reason: FinishReason
    n_tokens: int
    verdict: str


@with_config(STRICT)
class Prompt(TypedDict):
    """An accepted prompt; `shot_ids` are the seeds and prompts shown in its request."""

    prompt_id: str
    text: str
    shot_ids: list[str]
    request_id: str


@with_config(STRICT)
class Response(TypedDict):
    """One assistant's answer; `verdict` is "ok" or the rule that rejects it.

    `source_id` is the answer that an off-topic one really is; it is empty for all others.
    """

    response_id: str
    prompt_id: str
    assistant: str
    text: str
    finish_reason: FinishReason
    n_tokens: int
    verdict: str
    source_id: str


@with_config(STRICT)
class Comparison(TypedDict):
    """A pair of answers and which one the rule of thumb prefers."""

    comparison_id: str
    prompt_id: str
    prompt: str
    chosen: str
    rejected: str
    chosen_id: str
    rejected_id: str
    chosen_assistant: str
    rejected_assistant: str
    factors: list[Factor]


@with_config(STRICT)
class LedgerRow(TypedDict):
    """What became of a row: every dropped one, and every one that the two rule sets treat apart.

    `rule` is the verdict in force ("ok" if kept); `original` and `corrected` are the verdicts of
    the two rule sets. A dropped pair is in no dataset, so `parent_ids` has what it was made of: the
    ids of the prompt, the chosen and the rejected answer. It is empty for all other rows.
    """

    row_id: str
    rule: str
    detail: str
    original: str
    corrected: str
    parent_ids: list[str]


@with_config(STRICT)
class Assistant(TypedDict):
    """One configuration that answers prompts: model x demonstrations x shots.

    An `off_topic` one generates nothing: it has the answers of the same configuration, exchanged.
    """

    name: str
    model: str
    demonstrations: str
    shots: int
    max_new_tokens: int
    prefix: str
    off_topic: bool


def row_id(*parts: object) -> str:
    """Name a row after what made it: the first 16 digits of the parts' SHA-256."""
    return digest(*parts)[:16]


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


class RowsValidator:
    """Checks rows against their type on load and save; named in the catalog as `validator:`.

    A subclass also tells `kedro trace` all that it knows about its rows.

    Attributes:
        row: The rows' type.
        key: The field that holds a row's id.
        parents: Fields that hold the id of a parent, or a list of ids, each with the datasets that
            the parent may be in.
        roles: For lists whose order tells what each parent is: its name in the trace.
        texts: Fields that are shown as text; the others are shown as facts.
        model: What names the model that wrote the row: a field of it, or else of `plan`.
        plan: The document with each model's fingerprint.
        traced: False if the rows only say more about rows of another dataset, whose ids they have.
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
        """Return the rows unchanged.

        Raises:
            ValueError: The first bad row, by number and field, or the first repeated id.
        """
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
            # Other faults are found by their number: the id may be what is wrong.
            endless = error["type"] == "finite_number"
            id_ = f" in {self.key} {rows[int(number)].get(self.key)!r}" if endless else ""
            raise ValueError(
                f"row {start + int(number) + 1}, {where}: {error['msg']}; "
                f"found {error['input']!r:.80}{id_}"
            ) from exc


class Seeds(RowsValidator):
    """Describes seed prompts to `kedro trace`."""

    row, key = Seed, "seed_id"
    texts = ("text",)


class PromptRequests(RowsValidator):
    """Validator of `prompt_requests`."""

    row, key = PromptRequest, "request_id"
    parents: ClassVar = {"shot_ids": ("seed_prompts", "prompts")}
    texts = ("output",)
    model = "prompt_model"


class Prompts(RowsValidator):
    """Validator of `prompts`."""

    row, key = Prompt, "prompt_id"
    # Not `shot_ids`: the request, which stands between the prompt and its shots, has them, too.
    parents: ClassVar = {"request_id": ("prompt_requests",)}
    texts = ("text",)


class Responses(RowsValidator):
    """Validator of `responses`."""

    row, key = Response, "response_id"
    parents: ClassVar = {
        "prompt_id": ("prompts",),
        "assistant": ("assistants",),
        "source_id": ("responses",),
    }
    texts = ("text",)


class Comparisons(RowsValidator):
    """Validator of `comparisons`."""

    row, key = Comparison, "comparison_id"
    parents: ClassVar = {
        "prompt_id": ("prompts",),
        "chosen_id": ("responses",),
        "rejected_id": ("responses",),
    }
    texts = ("prompt", "chosen", "rejected")


class Ledger(RowsValidator):
    """Validator of every `ledger_<step>`."""

    row, key = LedgerRow, "row_id"
    parents: ClassVar = {"parent_ids": ("prompts", "responses")}
    roles: ClassVar = {"parent_ids": ("prompt", "chosen", "rejected")}
    texts = ("detail",)


class Assistants(RowsValidator):
    """Validator of `assistants`."""

    row, key = Assistant, "name"
    model = "model"
