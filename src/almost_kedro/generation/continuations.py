"""Contexts and their continuations as token ids, and which of them one forward pass answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from almost_kedro.errors import UserError
from almost_kedro.generation.batches import split_by_length
from almost_kedro.generation.likelihood_job import Likelihood
from almost_kedro.generation.tokens import Encoder, count_common


@dataclass(frozen=True)
class Tokens:
    """A row as token ids; `cut` of them were cut off the context's left.

    `prefix` is the text that the context still begins with, and may share with other rows.
    """

    id: str
    context: list[int]
    continuation: list[int]
    cut: int
    prefix: str = ""

    @property
    def inputs(self) -> list[int]:
        """What the model reads: nothing is asked about what follows the last token."""
        return self.context + self.continuation[:-1]


@dataclass(frozen=True)
class Pass:
    """What is computed once.

    Attributes:
        inputs: Token ids that the model reads.
        n_last: Its last positions that are asked about.
        rows: Numbers of the rows that this answers.
        prefix: Text that it may share with other passes.
    """

    inputs: tuple[int, ...]
    n_last: int
    rows: list[int]
    prefix: str = ""


@dataclass(frozen=True)
class Batch:
    """Passes that are computed together; all begin with the token ids `shared`."""

    passes: list[Pass]
    shared: tuple[int, ...] = ()


def encode_rows(
    encoder: Encoder, rows: Sequence[Likelihood], limit: int | None, model: str
) -> list[Tokens]:
    """Tokenise rows.

    A continuation's tokens are those that follow the context's own where both are tokenised
    together; if that would change the context's last token, they are tokenised apart. Training
    tokenises answers so, too. No eos is added. What is too long loses the context's beginning,
    whose bos stays.

    Args:
        encoder: The model's.
        rows: What is asked.
        limit: Tokens that the model reads; None if any number.
        model: Its name, for errors.

    Raises:
        UserError: The id of a row whose continuation is empty, longer than what the model reads, or
            has nothing before it; or that there is twice.
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
        if row["id"] in encoded:
            raise UserError(f"row {row['id']!r}: its id is there twice; give each row its own")
        excess = max(0, len(start) + len(rest) - 1 - limit) if limit else 0
        prefix = "" if excess else row.get("prefix", "")
        start = cut_left(start, encoder.bos, excess)
        encoded[row["id"]] = Tokens(row["id"], start, rest, excess, prefix)
    return list(encoded.values())


def check_row(
    id_: str, context: list[int], continuation: list[int], limit: int | None, model: str
) -> None:
    """Refuse a row that has no answer; see `encode_rows`."""
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
    """Take `excess` ids off a context's beginning; its bos stays where there is room for more."""
    if 0 < excess < len(context) - len(bos):
        return bos + context[len(bos) + excess :]
    return context[excess:]


def share_passes(rows: Sequence[Tokens]) -> list[Pass]:
    """Put rows together that differ in their last token at most.

    So the answers "A" and "B" after one question cost one pass, as do all one-token continuations
    of a context.
    """
    shared: dict[tuple[str, tuple[int, ...], int], list[int]] = {}
    for number, row in enumerate(rows):
        key = (row.prefix, tuple(row.inputs), len(row.continuation))
        shared.setdefault(key, []).append(number)
    return [
        Pass(inputs, n_last, numbers, prefix)
        for (prefix, inputs, n_last), numbers in shared.items()
    ]


def make_batches(
    encoder: Encoder, passes: Sequence[Pass], batch_tokens: int, positions: int
) -> list[Batch]:
    """Put passes into batches of like length, the longest first, those of a prefix together.

    Args:
        encoder: The model's.
        passes: All of them.
        batch_tokens: Tokens of a batch at most, padding included; with a prefix four times as many,
            the prefix of each pass included: it is stored for each and computed for none.
        positions: Positions of a batch at most whose logits are computed.
    """
    groups: dict[str, list[Pass]] = {}
    for each in passes:
        groups.setdefault(each.prefix, []).append(each)
    batches = []
    for prefix, group in groups.items():
        ids = encoder.encode([prefix])[0] if prefix else []
        # Where the prefix ends, its last tokens may differ from those of the whole.
        length = min(count_common(ids, each.inputs[: -each.n_last]) for each in group)
        limit = batch_tokens * 4 if length else batch_tokens
        for numbers in split_by_length([len(each.inputs) for each in group], limit):
            for part in split_wide([group[i] for i in numbers], positions):
                batches.append(Batch(part, tuple(ids[:length])))
    return batches


def count_positions(batch: Sequence[Pass]) -> int:
    """Count the last positions, of the longest pass, that hold what is asked about in any."""
    return max(len(each.inputs) for each in batch) - min(
        len(each.inputs) - each.n_last for each in batch
    )


def split_wide(batch: Sequence[Pass], positions: int) -> list[list[Pass]]:
    """Halve a batch until so many positions hold what is asked about.

    Args:
        batch: Passes computed together, padded on the right.
        positions: Positions at most; a pass that is asked more is alone.
    """
    if len(batch) == 1 or len(batch) * count_positions(batch) <= positions:
        return [list(batch)]
    half = len(batch) // 2
    return split_wide(batch[:half], positions) + split_wide(batch[half:], positions)
