"""The card of exported rows: its head names the files, by the conventions of the hub."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from markupsafe import Markup

from almost_kedro.pages.cards import (
    UNKNOWN,
    escape_markdown,
    fill_card,
    name_size,
    read_head,
    write_head,
    write_table,
)
from almost_kedro.pages.render import open_templates
from almost_kedro.pages.table import Table

# What the part on files of a run's card begins with, and what comes after it.
FILES, AFTER_FILES = "## What is in it\n", "\nAssistants, who answered every prompt:\n"
SHAPES: Mapping[str, tuple[str, ...]] = {
    "preference": ("prompt", "chosen", "rejected"),
    "prompt-completion": ("prompt", "completion"),
    "messages": ("messages",),
}
ABOUT: Mapping[str, str] = {
    "preference": "Pairs of answers, of which one is preferred.",
    "prompt-completion": "Dialogues, and the answers to be learned.",
    "messages": "Whole dialogues.",
}


class Exported(NamedTuple):
    """What an export holds.

    Attributes:
        dataset: Where its rows are from.
        form: The format.
        counts: Rows of each split.
        uses: What the prompts of each split are used for in the run.
        files: The file of each split, from the export's folder.
        left_out: Rows that are in no file.
    """

    dataset: str
    version: str
    form: str
    counts: Mapping[str, int]
    uses: Mapping[str, str]
    files: Mapping[str, str]
    left_out: int


def write_export_card(exported: Exported, run_card: str | None) -> str:
    """Write a card; the text is that of the run's own card if it has one of these rows."""
    contents = describe_files(exported)
    if run_card and FILES in run_card and AFTER_FILES in run_card:
        head, body = read_head(run_card)
        before, rest = body.split(FILES, 1)
        _, after = rest.split(AFTER_FILES, 1)
        return write_head(
            {**head, **make_head(exported, head["license"])},
            f"{before}{contents}{AFTER_FILES}{after}",
        )
    return fill_card(
        "export_card.md",
        make_head(exported, UNKNOWN),
        title=f"{exported.dataset} of a run of almost_kedro",
        about=ABOUT[exported.form],
        contents=contents,
    )


def make_head(exported: Exported, license_id: str) -> dict[str, object]:
    """Return what the hub reads; `data_files` is how `load_dataset` finds the splits."""
    files = [{"split": split, "path": path} for split, path in exported.files.items()]
    return {
        "pretty_name": f"{exported.dataset} by almost_kedro",
        "license": license_id,
        "task_categories": ["text-generation"],
        "tags": ["synthetic", exported.form, "alignment", "trl"],
        "size_categories": [name_size(sum(exported.counts.values()))],
        "configs": [{"config_name": "default", "data_files": files}],
    }


def describe_files(exported: Exported) -> Markup:
    """Describe columns and splits."""
    rows = tuple(
        (split, f"{count:,}", exported.uses[split], exported.files[split])
        for split, count in exported.counts.items()
    )
    environment = open_templates(escape_markdown, autoescape=False)
    environment.filters["table"] = write_table
    names = ", ".join(f"`{name}`" for name in SHAPES[exported.form])
    text = environment.get_template("export_files.md").render(
        dataset=exported.dataset,
        version=exported.version,
        form=Markup(exported.form),  # noqa: S704 - one of our own names
        columns=Markup(names),  # noqa: S704 - one of our own names
        files=Table("", ("split", "rows", "prompts used for", "file"), rows),
        splits=exported.counts,
        left_out=exported.left_out,
    )
    return Markup(text)  # noqa: S704 - escaped by the template
