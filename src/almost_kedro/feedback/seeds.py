"""The seed file: an instruction on its first line, a seed prompt on each further line."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from almost_kedro.contract import row_id
from almost_kedro.errors import UserError
from almost_kedro.rows.feedback import Seed

# Other projects' names of the column of prompts.
PROMPT_COLUMNS = {"prompt", "prompts", "instruction", "question", "query", "text", "input"}


@dataclass(frozen=True)
class SeedFile:
    """An instruction to the model, and the seed prompts shown to it."""

    instruction: str
    prompts: tuple[str, ...]


def read_seed_file(text: str) -> SeedFile:
    """Rule 1: the first line is an instruction, each other line that is not blank a seed prompt.

    A repeated seed counts once. Byte-order mark, Windows line ends and a missing final newline are
    ignored. Raises UserError if there is no seed prompt, or if the file is JSON or a table, as in
    other projects: such a file has no instruction to the model.
    """
    text = text.lstrip("\ufeff")
    refuse_rows(text)
    lines = [line.strip() for line in text.split("\n")]
    lines = list(dict.fromkeys(line for line in lines if line))
    if len(lines) < 2:
        raise UserError(
            f"seed_prompts: found {len(lines)} lines that are not blank; "
            "give an instruction on the first line and one seed prompt on each further line"
        )
    return SeedFile(lines[0], tuple(lines[1:]))


def refuse_rows(text: str) -> None:
    """Raise UserError for a file that is surely not a list of plain prompts.

    That is a JSON document, JSON lines (mostly objects, or only texts or lists), or a table with
    header.
    """
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    rows = [_parse(line) for line in lines]
    objects = [row for row in rows if isinstance(row, dict)]
    columns = [
        name.strip(" \"'").lower() for name in re.split(r"[,;\t]", lines[0] if lines else "")
    ]
    if 2 * len(objects) > len(lines):
        found = f"JSON lines of {', '.join(objects[0]) or 'nothing'}"
    elif _parse(text) is not None or (lines and None not in rows):
        found = "JSON"
    elif all(map(str.isidentifier, columns)) and not PROMPT_COLUMNS.isdisjoint(columns):
        found = f"a table with the columns {', '.join(columns)}"
    else:
        return
    raise UserError(
        f"seed_prompts: found {found}; give plain lines: an instruction to the model on the first, "
        "then one seed prompt on each, such as what is in its field instruction or prompt"
    )


def _parse(text: str) -> dict[str, object] | list[object] | str | None:
    """Read JSON; None if it is not JSON, or a number or a word, which a plain line can be."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict | list | str) else None


def make_seed_rows(seeds: SeedFile) -> list[Seed]:
    """Give each seed prompt the id by which requests name their shots."""
    return [Seed(seed_id=row_id("seed", text), text=text) for text in seeds.prompts]
