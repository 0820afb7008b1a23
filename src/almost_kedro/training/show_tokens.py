"""Reads rows as the training programs do, and writes down what they read, token by token.

Run by hand: `python -m almost_kedro.training.show_tokens JOB.json`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from almost_kedro.models.texts import Sequence, TextEncoder
from almost_kedro.processes.child import carry_out
from almost_kedro.rows.json_lines import read_rows, write_rows
from almost_kedro.training.answers import NO_LIMIT
from almost_kedro.training.tokens_job import ReadText, TokensJob


def read_texts(job: TokensJob) -> Iterator[ReadText]:
    """Tokenise each field of each row with its dialogue."""
    encoder = TextEncoder(job.model, job.separator, job.max_length)
    whole = TextEncoder(job.model, job.separator, NO_LIMIT)
    for row in read_rows(job.rows):
        for field in job.fields:
            read = encoder.encode(row["dialogue"], row[field])
            uncut = whole.encode(row["dialogue"], row[field])
            cut = len(uncut.ids) - len(read.ids)
            yield describe(row["id"], field, read, cut, encoder)


def describe(id_: str, field: str, read: Sequence, cut: int, encoder: TextEncoder) -> ReadText:
    """Write a text down."""
    tokenizer, chat = encoder.tokenizer, encoder.encoder.chat
    end = chat.end if chat else encoder.eos
    last = max(place for place, token in enumerate(read.answer) if token == end)
    return ReadText(
        id=id_,
        field=field,
        n_dialogue=len(read.dialogue),
        n_end=len(read.answer) - last,
        cut=cut,
        ids=read.ids,
        labels=read.labels,
        names=[str(name) for name in tokenizer.convert_ids_to_tokens(read.ids)],
        texts=[tokenizer.decode([token]) for token in read.ids],
    )


def run_job(job: TokensJob) -> None:
    """Read the rows, write the texts."""
    write_rows(job.out, read_texts(job))


def main(job_file: str) -> int:
    """Carry out a job file; return the exit status, with one line on stderr if it failed."""
    return carry_out(lambda text: run_job(TokensJob.model_validate_json(text)), job_file)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
