"""Contexts and their continuations as token ids, in batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from almost_kedro.contract import Likelihood
from almost_kedro.errors import UserError
from almost_kedro.generation.trees import Batch, make_batches
from almost_kedro.models.texts import TextEncoder
from almost_kedro.models.tokens import Encoder


@dataclass(frozen=True)
class Tokens:
    """A row as token ids; `cut` counts the tokens that were cut off the context's left.

    `prefix` is the text that the context still begins with. Other rows may share it.
    """

    id: str
    context: list[int]
    continuation: list[int]
    cut: int
    prefix: str = ""

    @cached_property
    def inputs(self) -> list[int]:
        """What the model reads: all but the last token, which only has to be predicted."""
        return self.context + self.continuation[:-1]


def encode_rows(
    encoder: Encoder, rows: Sequence[Likelihood], limit: int | None, model: str
) -> list[Tokens]:
    """Tokenise rows; `limit` is how many tokens the model reads, None if any number.

    Context and continuation are tokenised together, and the continuation gets the tokens after the
    context's own. If that would change the context's last token, the two are tokenised apart.
    Training tokenises answers in the same way. No eos is added. A row that is too long loses the
    context's beginning but keeps its bos.

    Raises:
        UserError: If an id occurs twice, or a continuation is empty, longer than what the model
            reads, or has nothing before it.
    """
    contexts = [row.get("prefix", "") + row["context"] for row in rows]
    different = list(dict.fromkeys(contexts))
    starts = dict(zip(different, encoder.encode(different), strict=True))
    wholes = encoder.encode(
        [context + row["continuation"] for context, row in zip(contexts, rows, strict=True)]
    )
    encoded: dict[str, Tokens] = {}
    for row, context, whole in zip(rows, contexts, wholes, strict=True):
        start = starts[context]
        if whole[: len(start)] == start:
            rest = whole[len(start) :]
        else:
            rest = encoder.encode([row["continuation"]])[0][len(encoder.bos) :]
        check_row(row["id"], start, rest, limit, model)
        excess = max(0, len(start) + len(rest) - 1 - limit) if limit else 0
        prefix = "" if excess else row.get("prefix", "")
        start = cut_left(start, encoder.bos, excess)
        add(encoded, Tokens(row["id"], start, rest, excess, prefix))
    return list(encoded.values())


def encode_answers(encoder: TextEncoder, rows: Sequence[Likelihood], model: str) -> list[Tokens]:
    """Tokenise contexts as dialogues and continuations as their answers, as training does.

    The answer's eos, or what the template puts there, is part of the continuation. Where nothing of
    the dialogue is left, the answer's first token takes its place: no training predicts it either.

    Raises:
        UserError: If an id occurs twice, or a row has nothing that can be predicted.
    """
    encoded: dict[str, Tokens] = {}
    for row in rows:
        texts = encoder.encode(row.get("prefix", "") + row["context"], row["continuation"])
        start, rest = texts.dialogue, texts.answer
        if not start:
            start, rest = rest[:1], rest[1:]
        check_row(row["id"], start, rest, None, model)
        add(encoded, Tokens(row["id"], start, rest, texts.cut))
    return list(encoded.values())


def add(encoded: dict[str, Tokens], row: Tokens) -> None:
    """Add a row; raise UserError if its id is there."""
    if row.id in encoded:
        raise UserError(f"row {row.id!r}: its id is there twice; give each row its own")
    encoded[row.id] = row


def check_row(
    id_: str, context: list[int], continuation: list[int], limit: int | None, model: str
) -> None:
    """Refuse a row that has no answer, with the UserError of `encode_rows`."""
    if not continuation:
        raise UserError(f"row {id_!r}: its continuation is empty; leave it out, or give it text")
    if not context:
        raise UserError(
            f"row {id_!r}: its context is empty and model {model!r} starts without a bos token, so "
            "nothing says how probable the first token is; give it a context"
        )
    if limit and len(continuation) > limit:
        raise UserError(
            f"row {id_!r}: its continuation has {len(continuation)} tokens, but model {model!r} "
            f"reads {limit}; shorten it"
        )


def cut_left(context: list[int], bos: list[int], excess: int) -> list[int]:
    """Cut `excess` ids off a context's beginning, but keep its bos if more than the bos fits."""
    if 0 < excess < len(context) - len(bos):
        return bos + context[len(bos) + excess :]
    return context[excess:]


def make_row_batches(
    rows: Sequence[Tokens], width: int, batch_tokens: int, positions: int
) -> list[Batch]:
    """Put rows into batches, rows with the same prefix together; see `trees.make_batches`.

    A batch names rows by their numbers here. `width` is the size of the model's hidden state. A
    batch has at most `batch_tokens` tokens, and at most `positions` positions with logits.
    """
    groups: dict[str, list[int]] = {}
    for number, row in enumerate(rows):
        groups.setdefault(row.prefix, []).append(number)
    batches = []
    for numbers in groups.values():
        texts = [rows[number].inputs for number in numbers]
        asked = [len(rows[number].continuation) for number in numbers]
        for batch in make_batches(texts, asked, width, batch_tokens, positions):
            trees = [[numbers[i] for i in tree] for tree in batch.trees]
            batches.append(Batch(trees, batch.shared))
    return batches
