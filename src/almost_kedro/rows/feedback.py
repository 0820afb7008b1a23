"""The rows that go from step to step, and the checks that the catalog runs on them."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import with_config
from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

from almost_kedro.contract import FinishReason
from almost_kedro.rows.validator import STRICT, RowsValidator

Factor = Literal["size", "shots", "demonstrations", "topic"]


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

    For an off-topic answer, `source_id` is the answer it copies; it is empty for all others.
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
    """What became of a row: every dropped one, and every one that the rule sets treat differently.

    `rule` is the verdict in force ("ok" if kept); `original` and `corrected` are the verdicts of
    the two rule sets. A dropped pair is in no dataset, so `parent_ids` has the ids of its prompt,
    chosen and rejected answer. It is empty for all other rows.
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
    # Not `shot_ids`: the request, between the prompt and its shots, has them, too.
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
