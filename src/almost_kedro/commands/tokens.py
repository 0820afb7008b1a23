"""`kedro rows --tokens`: what a training program reads of a row, token by token."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from kedro.framework.context import KedroContext
from kedro.io import DataCatalog
from rich.text import Text

from almost_kedro.commands.rows import Row
from almost_kedro.commands.terminal import draw_table, open_console
from almost_kedro.errors import UserError
from almost_kedro.feedback.mismatched import build_mismatched_rows
from almost_kedro.feedback.post_validation import build_pair_rows
from almost_kedro.feedback.responses import build_question
from almost_kedro.feedback.reward_rows import build_reward_rows, choose_separator
from almost_kedro.feedback.self_play import list_training_rows
from almost_kedro.jobs.models import find_trainee
from almost_kedro.jobs.row_files import Rows
from almost_kedro.jobs.tokens import read_tokens
from almost_kedro.options.all import Options, check_options
from almost_kedro.options.rules import Rules
from almost_kedro.pages.table import Table
from almost_kedro.rows.visible_text import make_line
from almost_kedro.training.tokens_job import ReadText

PAIR = ("chosen", "rejected")


class Reading(NamedTuple):
    """How rows of a dataset become texts.

    Attributes:
        reader: The model that reads them, by its options.
        fields: Names of the answers.
        build: Makes rows of `id`, `dialogue` and these fields, from rows, rules and prompts.
        needs_prompts: Whether it looks prompts up by their ids.
    """

    reader: Literal["reward_model", "sft"]
    fields: tuple[str, ...]
    build: Callable[[Any, Rules, Mapping[str, str]], Rows]
    needs_prompts: bool = False


def read_pairs(build: Callable[[Any, Rules], Rows]) -> Reading:
    """Return how the reward model's training reads pairs."""
    return Reading("reward_model", PAIR, lambda rows, rules, prompts: build(rows, rules))


def read_answers(key: str, text: str) -> Reading:
    """Return how a reward model reads answers to prompts, which it scores."""

    def build(rows: Sequence[Row], rules: Rules, prompts: Mapping[str, str]) -> Rows:
        return [
            {
                "id": row[key],
                "dialogue": build_question(prompts[row["prompt_id"]], rules),
                "answer": row[text],
            }
            for row in rows
        ]

    return Reading("reward_model", ("answer",), build, needs_prompts=True)


# By dataset.
READINGS = {
    "comparisons": read_pairs(build_reward_rows),
    "validated_comparisons": read_pairs(build_reward_rows),
    "reward_pairs": read_pairs(build_reward_rows),
    "mismatched_pairs": read_pairs(build_mismatched_rows),
    "as_is_pairs": read_pairs(build_pair_rows),
    "sft_demonstrations": Reading(
        "sft", ("answer",), lambda rows, rules, prompts: list_training_rows(rows)
    ),
    "rollouts": read_answers("rollout_id", "completion"),
    "sft_answers": read_answers("answer_id", "text"),
    "rl_answers": read_answers("answer_id", "text"),
    "dpo_answers": read_answers("answer_id", "text"),
}


def print_tokens(context: KedroContext, dataset: str, rows: Iterable[Row]) -> None:
    """Print a table for each text of the rows.

    Raises UserError if no program reads the dataset's rows as a dialogue and an answer.
    """
    if dataset not in READINGS:
        raise UserError(
            f"--tokens: no program reads {dataset} as a dialogue and an answer; give one of "
            f"{', '.join(READINGS)}"
        )
    catalog = context.catalog
    assert isinstance(catalog, DataCatalog)
    options = check_options(context.config_loader["parameters"])
    reading = READINGS[dataset]
    block = getattr(options, reading.reader)
    texts = read_tokens(
        build_texts(list(rows), reading, catalog, options.rules),
        reading.fields,
        find_trainee(block.model, options, catalog.load("workplace")),
        choose_separator(options.rules),
        block.max_length,
    )
    console = open_console()
    for text in texts:
        table = tabulate(text, reading.reader, options)
        console.print(Text(f"{make_line(table.caption)}\n"), soft_wrap=True)
        console.print(draw_table(table._replace(caption="")))
        console.print()


def build_texts(rows: Sequence[Row], reading: Reading, catalog: DataCatalog, rules: Rules) -> Rows:
    """Make rows of `id`, `dialogue` and answers."""
    prompts = catalog.load("prompts") if reading.needs_prompts else []
    return reading.build(rows, rules, {each["prompt_id"]: each["text"] for each in prompts})


def tabulate(text: ReadText, reader: str, options: Options) -> Table:
    """Describe a text as a table with a row a token."""
    block = getattr(options, reader)
    cut = f"; {text['cut']} before them are cut off" if text["cut"] else ""
    caption = (
        f"{text['field']} of {text['id']}: {len(text['ids'])} tokens of {block.model}, "
        f"{text['n_dialogue']} of them the dialogue's ({reader}.max_length {block.max_length}){cut}"
    )
    uses = describe_losses(text) if reader == "sft" else describe_rewards(text)
    rows = [
        (str(place), str(id_), name, f"'{own}'", part, use)
        for place, (id_, name, own, part, use) in enumerate(
            zip(text["ids"], text["names"], text["texts"], name_parts(text), uses, strict=True)
        )
    ]
    return Table(caption, ("place", "id", "token", "text", "part", "use"), rows, (2, 3, 4, 5))


def name_parts(text: ReadText) -> list[str]:
    """Name the part of each token."""
    n_end = text["n_end"]
    n_answer = len(text["ids"]) - text["n_dialogue"] - n_end
    end = ["eos"] if n_end == 1 else ["end"] * n_end
    return ["dialogue"] * text["n_dialogue"] + ["answer"] * n_answer + end


def describe_losses(text: ReadText) -> list[str]:
    """Say which tokens the policy learns to write."""
    return ["in the loss" if label != -100 else "" for label in text["labels"]]


def describe_rewards(text: ReadText) -> list[str]:
    """Say at which token the reward is read."""
    return [""] * (len(text["ids"]) - 1) + ["reward read here"]
