"""Lets a program show what training reads of rows."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from almost_kedro.contract import ModelFolder
from almost_kedro.jobs.row_files import Rows, write_content
from almost_kedro.processes.run import run_program
from almost_kedro.rows.json_lines import read_rows
from almost_kedro.training.tokens_job import ReadText, TokensJob


def read_tokens(
    rows: Rows, fields: Sequence[str], model: ModelFolder, separator: str, max_length: int
) -> list[ReadText]:
    """Tokenise rows of `id`, `dialogue` and the fields as the training programs do.

    Returns a text for each row and field, row by row.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        job = TokensJob(
            model=model,
            rows=write_content(folder, rows)[0],
            fields=list(fields),
            separator=separator,
            max_length=max_length,
            out=folder / "texts.jsonl",
        )
        job_file = folder / "job.json"
        job_file.write_text(job.model_dump_json(), encoding="utf-8")
        run_program("almost_kedro.training.show_tokens", job_file, folder / "program.log")
        return cast(list[ReadText], list(read_rows(job.out)))
