"""A blind vote of people between two policies: which answers they see, and on which side.

As in the paper's human evaluation, two answers to a question stand side by side, and the people are
not told whose they are.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from almost_kedro.contract import digest, row_id
from almost_kedro.errors import UserError
from almost_kedro.evaluation.answer_pairs import AnswerPair
from almost_kedro.evaluation.stages import Pair
from almost_kedro.rows.human_votes import KeyQuestion, ShownQuestion, VoteKey, VotePage


def draw_questions(pairs: Sequence[AnswerPair], n: int | None, seed: int) -> list[AnswerPair]:
    """Draw n of the pairs without repetition, in random order; all of them if n is None.

    Raises UserError if there are fewer.
    """
    if n is not None and n > len(pairs):
        raise UserError(f"--questions {n}: there are {len(pairs)} that both answered; ask for less")
    return _make_random("questions", pairs, seed).sample(pairs, n or len(pairs))


def make_vote_page(
    drawn: Sequence[AnswerPair], models: Pair, seed: int, answers: dict[str, str], judge: str
) -> tuple[VotePage, VoteKey]:
    """Put model_a's answers on the left of every second question at random; return page and key.

    With an odd number, one more or one less is on the left. `answers` and `judge` are for the key.
    """
    generator = _make_random("sides", drawn, seed)
    sides = [(number + seed) % 2 == 0 for number in range(len(drawn))]
    generator.shuffle(sides)
    shown: list[ShownQuestion] = []
    hidden: list[KeyQuestion] = []
    for pair, a_left in zip(drawn, sides, strict=True):
        # Who has not the run's rows can't tell a policy by it.
        vote_id = row_id("human_vote", pair.answer_a, pair.answer_b)
        left, right = (pair.text_a, pair.text_b) if a_left else (pair.text_b, pair.text_a)
        shown.append(ShownQuestion(vote_id=vote_id, question=pair.question, left=left, right=right))
        hidden.append(
            KeyQuestion(
                vote_id=vote_id,
                source=pair.source,
                item_id=pair.item_id,
                a_is="left" if a_left else "right",
                answer_a=pair.answer_a,
                answer_b=pair.answer_b,
                judges=pair.judges,
            )
        )
    page = VotePage(page=digest("human_votes", shown), questions=shown)
    key = VoteKey(
        page=page["page"],
        model_a=models[0],
        model_b=models[1],
        seed=seed,
        answers=answers,
        judge=judge,
        questions=hidden,
    )
    return page, key


def _make_random(purpose: str, pairs: Sequence[AnswerPair], seed: int) -> random.Random:
    # With the ids, which a voter does not have: the seed alone would tell the sides.
    return random.Random(digest(purpose, seed, [(pair.answer_a, pair.answer_b) for pair in pairs]))
