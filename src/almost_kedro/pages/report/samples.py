"""Dialogues to read: what each model answers to the same question, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

from almost_kedro.pages.table import MISSING
from almost_kedro.rows.evaluation import JudgeVote, OpenAnswer, OpenItem
from almost_kedro.rows.feedback import Prompt
from almost_kedro.rows.training import PolicyAnswer

Item = TypeVar("Item")
# Dialogues shown of each kind, and characters of each text.
DIALOGUES = 4
LONGEST = 1200


class Answer(NamedTuple):
    """A model's answer; `notes` has figures about it."""

    model: str
    text: str
    notes: str


class Dialogue(NamedTuple):
    """A question, all models' answers to it, and what was voted."""

    name: str
    question: str
    answers: tuple[Answer, ...]
    votes: tuple[str, ...]


def spread(items: Sequence[Item], n: int) -> list[Item]:
    """Take n items from the first to the last, in even steps; all if there are no more."""
    if len(items) <= n or n < 2:
        return list(items[:n])
    return [items[round(i * (len(items) - 1) / (n - 1))] for i in range(n)]


def cut(text: str, longest: int = LONGEST) -> str:
    """Shorten a text, and say how long it is."""
    if len(text) <= longest:
        return text
    return f"{text[:longest]} [... {len(text):,} characters in all]"


def sample_questions(
    questions: Sequence[OpenItem],
    answers: Sequence[OpenAnswer],
    votes: Sequence[JudgeVote],
    n: int = DIALOGUES,
) -> list[Dialogue]:
    """Show the answers to some open questions with the judge's votes."""
    return [
        Dialogue(
            name=item["item_id"],
            question=cut(item["question"]),
            answers=tuple(
                Answer(row["policy"], cut(row["text"]), _describe(row["n_tokens"], row))
                for row in answers
                if row["item_id"] == item["item_id"]
            ),
            votes=tuple(_show_vote(vote) for vote in votes if vote["item_id"] == item["item_id"]),
        )
        for item in spread(questions, n)
    ]


def sample_prompts(
    prompts: Sequence[Prompt], answers: Sequence[PolicyAnswer], n: int = DIALOGUES
) -> list[Dialogue]:
    """Show the answers to some test prompts with their rewards; of a model's two, the first."""
    texts = {prompt["prompt_id"]: prompt["text"] for prompt in prompts}
    by_prompt: dict[str, dict[str, PolicyAnswer]] = {}
    for row in answers:
        by_prompt.setdefault(row["prompt_id"], {}).setdefault(row["policy"], row)
    return [
        Dialogue(
            name=prompt_id,
            question=cut(texts[prompt_id]),
            answers=tuple(
                Answer(
                    row["policy"],
                    cut(row["text"]),
                    f"reward {row['reward']:+.2f}, held-out {row['held_out_reward']:+.2f}, "
                    + _describe(row["n_tokens"], row),
                )
                for row in by_prompt[prompt_id].values()
            ),
            votes=(),
        )
        for prompt_id in spread(list(by_prompt), n)
    ]


def _describe(n_tokens: int, row: OpenAnswer | PolicyAnswer) -> str:
    end = ", cut off" if row["finish_reason"] == "length" else ""
    return f"{n_tokens} tokens{end}"


def _show_vote(vote: JudgeVote) -> str:
    pair = f"{vote['model_a']} against {vote['model_b']}"
    order = "" if vote["order"] == "any" else f" ({vote['order'].replace('_', ' ')})"
    if not vote["valid"]:
        return f"{pair}{order}: invalid: {cut(vote['reason'], 200)}"
    scores = (vote["score_first"], vote["score_second"])
    shown = " to ".join(MISSING if score is None else f"{score:+.2f}" for score in scores)
    return f"{pair}{order}: {vote['verdict']} ({shown})"
