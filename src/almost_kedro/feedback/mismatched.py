"""Mismatched pairs: an answer to its own prompt against answers to other prompts.

They need no annotation: only the prompt tells which answer is right. After "Scaling Reward Modeling
without Human Supervision" (arXiv 2603.02225), which takes the other continuations of a batch. Ours
are rows, drawn before training, so they depend on no batch. The paper on which this project is
built has no such rule; this is ours.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from almost_kedro.contract import row_id
from almost_kedro.errors import UserError
from almost_kedro.feedback.comparisons import list_levels
from almost_kedro.feedback.off_topic import OFF_TOPIC
from almost_kedro.feedback.responses import build_question
from almost_kedro.feedback.reward_rows import AnswerRow, RewardRow, build_reward_rows
from almost_kedro.options.reward_model import MismatchedOptions
from almost_kedro.options.rules import Rules
from almost_kedro.rows.feedback import Comparison
from almost_kedro.rows.training import MismatchedPair, PromptSplit

# Answers that are drawn from: those nearest in length.
NEAREST = 8


class Answer(NamedTuple):
    """An answer that is right for its own prompt."""

    length: int  # characters
    response_id: str
    prompt_id: str
    text: str


def check_levels(rubric: Sequence[str | Sequence[str]]) -> None:
    """Raise UserError if the rubric puts an off-topic assistant before another.

    Its answers would be chosen ones, and so both right and off topic.
    """
    for level in list_levels(rubric)[:-1]:
        for name in level:
            if name.endswith(OFF_TOPIC):
                raise UserError(
                    f"option reward_model.mismatched: the rubric puts {name!r} before others, so "
                    "off-topic answers would count as right ones; put it last, or leave "
                    "mismatched out"
                )


def draw_mismatched(
    comparisons: Sequence[Comparison],
    prompt_splits: Sequence[PromptSplit],
    options: MismatchedOptions,
    seed: int,
) -> list[MismatchedPair]:
    """Draw `per_pair` answers of other prompts for each comparison; return them in its order.

    All are chosen answers of comparisons of the same split, so quality tells nothing. They are
    drawn by seed from the `NEAREST` in length, so length tells nothing. None is also an answer to
    the comparison's own prompt, and none occurs twice beside a comparison. A draw depends on the
    rows of its split, and not on their order. Held-out prompts, which only test, may have fewer.

    Raises:
        UserError: Another split without enough prompts to draw from.
    """
    splits = {row["prompt_id"]: row["split"] for row in prompt_splits}
    pools: dict[str, dict[str, Answer]] = defaultdict(dict)
    own: dict[str, set[str]] = defaultdict(set)
    for row in comparisons:
        chosen = row["chosen"]
        pools[splits[row["prompt_id"]]][row["chosen_id"]] = Answer(
            len(chosen), row["chosen_id"], row["prompt_id"], chosen
        )
        own[row["prompt_id"]] |= {chosen, row["rejected"]}
    ordered = {split: sorted(pool.values()) for split, pool in pools.items()}
    pairs: list[MismatchedPair] = []
    for row in comparisons:
        split = splits[row["prompt_id"]]
        wanted = max(NEAREST, options.per_pair)
        near = find_nearest(row, ordered[split], own[row["prompt_id"]], wanted)
        if len(near) < options.per_pair and split != "held_out":
            raise UserError(
                f"option reward_model.mismatched.per_pair: {options.per_pair} answers of other "
                f"prompts are wanted beside comparison {row['comparison_id']}, and its split "
                f"{split} has {len(near)}; lower it, or ask for more prompts "
                "(prompt_generation.n_prompts)"
            )
        pairs += _draw(row, near, options.per_pair, seed)
    return pairs


def _draw(row: Comparison, near: Sequence[Answer], n: int, seed: int) -> Iterator[MismatchedPair]:
    def draw(answer: Answer) -> str:
        return row_id("mismatched", seed, row["comparison_id"], answer.response_id)

    for answer in sorted(near, key=draw)[:n]:
        yield MismatchedPair(
            mismatched_id=row_id("mismatched_pair", row["comparison_id"], answer.response_id),
            comparison_id=row["comparison_id"],
            prompt_id=row["prompt_id"],
            prompt=row["prompt"],
            chosen=row["chosen"],
            rejected=answer.text,
            chosen_id=row["chosen_id"],
            rejected_id=answer.response_id,
            rejected_prompt_id=answer.prompt_id,
        )


def find_nearest(
    row: Comparison, answers: Sequence[Answer], own: Collection[str], n: int
) -> list[Answer]:
    """Return the n answers of other prompts that are nearest to the chosen one in length.

    Args:
        answers: Of the comparison's split, sorted by length.
        own: The texts that answer the comparison's own prompt.
    """
    found: list[Answer] = []
    texts = set(own)
    for answer in walk_outward(answers, len(row["chosen"])):
        if len(found) == n:
            break
        if answer.prompt_id != row["prompt_id"] and answer.text not in texts:
            found.append(answer)
            texts.add(answer.text)
    return found


def walk_outward(answers: Sequence[Answer], length: int) -> Iterator[Answer]:
    """Yield sorted answers by their distance from a length, the shorter one of two first."""
    right = bisect_left(answers, length, key=lambda answer: answer.length)
    left = right - 1
    while left >= 0 or right < len(answers):
        below = length - answers[left].length if left >= 0 else None
        above = answers[right].length - length if right < len(answers) else None
        if above is None or (below is not None and below <= above):
            yield answers[left]
            left -= 1
        else:
            yield answers[right]
            right += 1


def add_mismatched(
    comparisons: Sequence[Comparison],
    pairs: Sequence[MismatchedPair],
    options: MismatchedOptions | None,
    rules: Rules,
) -> list[RewardRow]:
    """Return the rows that a reward model is trained on: comparisons with their mismatched pairs.

    Without `options` they are those of `build_reward_rows`.
    """
    rows = build_reward_rows(comparisons, rules)
    if options is None:
        return rows
    others = group_texts(pairs)
    return [
        {**row, "mismatched": others[row["id"]], "mismatched_weight": options.weight}
        for row in rows
    ]


def drop_mismatched(rows: Sequence[RewardRow]) -> list[RewardRow]:
    """Return rows as they are without mismatched pairs: the comparisons alone."""
    return [
        RewardRow(
            id=row["id"],
            dialogue=row["dialogue"],
            chosen=row["chosen"],
            rejected=row["rejected"],
        )
        for row in rows
    ]


def group_texts(pairs: Sequence[MismatchedPair]) -> Mapping[str, list[str]]:
    """Return the answers to other prompts by comparison_id."""
    texts: dict[str, list[str]] = defaultdict(list)
    for pair in pairs:
        texts[pair["comparison_id"]].append(pair["rejected"])
    return texts


def build_mismatched_rows(pairs: Sequence[MismatchedPair], rules: Rules) -> list[RewardRow]:
    """Return each pair by itself, as the reward program would read it."""
    return [
        RewardRow(
            id=pair["mismatched_id"],
            dialogue=build_question(pair["prompt"], rules),
            chosen=pair["chosen"],
            rejected=pair["rejected"],
        )
        for pair in pairs
    ]


def build_mismatched_answers(pairs: Sequence[MismatchedPair], rules: Rules) -> list[AnswerRow]:
    """Return the wrong answer of each pair as the scoring program reads it."""
    return [
        AnswerRow(id=row["id"], dialogue=row["dialogue"], answer=row["rejected"])
        for row in build_mismatched_rows(pairs, rules)
    ]
