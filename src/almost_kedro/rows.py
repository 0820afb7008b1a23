"""The rows that go from step to step, and the checks that the catalog runs on them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

from almost_kedro.generation.engine import FinishReason, digest

Factor = Literal["size", "shots", "demonstrations"]
STRICT = ConfigDict(extra="forbid", strict=True)


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
    """One assistant's answer; `verdict` is "ok" or the rule that rejects it."""

    response_id: str
    prompt_id: str
    assistant: str
    text: str
    finish_reason: FinishReason
    n_tokens: int
    verdict: str


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
    the two rule sets.
    """

    row_id: str
    rule: str
    detail: str
    original: str
    corrected: str


@with_config(STRICT)
class Assistant(TypedDict):
    """One configuration that answers prompts: model x demonstrations x shots."""

    name: str
    model: str
    demonstrations: str
    shots: int
    max_new_tokens: int
    prefix: str


def row_id(*parts: object) -> str:
    """Name a row after what made it: the first 16 digits of the parts' SHA-256."""
    return digest(*parts)[:16]


class RowsValidator:
    """Checks rows against their type on load and save; named in the catalog as `validator:`."""

    row: Any
    key: str

    def validate(self, data: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the rows unchanged.

        Raises:
            ValueError: The first bad row, by number and field, or the first repeated id.
        """
        try:
            TypeAdapter(list[self.row]).validate_python(data)  # type: ignore[name-defined]
        except ValidationError as exc:
            error = exc.errors()[0]
            if not error["loc"]:
                raise ValueError(f"{error['msg']}; found {type(data).__name__}") from exc
            number, *field = error["loc"]
            where = ".".join(map(str, field)) or "the row"
            raise ValueError(
                f"row {int(number) + 1}, {where}: {error['msg']}; found {error['input']!r:.80}"
            ) from exc
        seen: set[str] = set()
        for number, row in enumerate(data, 1):
            if row[self.key] in seen:
                raise ValueError(f"row {number}, {self.key}: {row[self.key]!r} occurs twice")
            seen.add(row[self.key])
        return data


class PromptRequests(RowsValidator):
    """Validator of `prompt_requests`."""

    row, key = PromptRequest, "request_id"


class Prompts(RowsValidator):
    """Validator of `prompts`."""

    row, key = Prompt, "prompt_id"


class Responses(RowsValidator):
    """Validator of `responses`."""

    row, key = Response, "response_id"


class Comparisons(RowsValidator):
    """Validator of `comparisons`."""

    row, key = Comparison, "comparison_id"


class Ledger(RowsValidator):
    """Validator of every `ledger_<step>`."""

    row, key = LedgerRow, "row_id"


class Assistants(RowsValidator):
    """Validator of `assistants`."""

    row, key = Assistant, "name"
