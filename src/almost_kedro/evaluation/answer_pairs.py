"""What two policies answered to the same questions, and which answer the run's judges prefer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import isclose
from typing import NamedTuple

from almost_kedro.errors import UserError
from almost_kedro.evaluation.floors import score_wins
from almost_kedro.evaluation.judge import WINS
from almost_kedro.evaluation.stages import Pair
from almost_kedro.rows.evaluation import JudgeVote, OpenAnswer, OpenItem
from almost_kedro.rows.training import PolicyAnswer

JUDGE = "judge"
# Rewards of one answer by one model differ by less, whatever it was padded with.
SAME_REWARD = 1e-3


class AnswerPair(NamedTuple):
    """Two policies' answers to one question; `judges` as in `KeyQuestion`."""

    source: str
    item_id: str
    question: str
    answer_a: str
    answer_b: str
    text_a: str
    text_b: str
    judges: dict[str, float]


def pair_open_answers(
    models: Pair,
    questions: Sequence[OpenItem],
    answers: Sequence[OpenAnswer],
    votes: Sequence[JudgeVote],
) -> list[AnswerPair]:
    """Pair two models' answers to the open questions, with what the judge made of them."""
    first, second = ({r["item_id"]: r for r in answers if r["policy"] == m} for m in models)
    verdicts = read_verdicts(votes)
    pairs = []
    for item in questions:
        a, b = first.get(item["item_id"]), second.get(item["item_id"])
        if a and b:
            ids = (a["answer_id"], b["answer_id"])
            judges = {JUDGE: verdicts[ids]} if ids in verdicts else {}
            texts = (a["text"], b["text"])
            pairs.append(
                AnswerPair("open_answers", item["item_id"], item["question"], *ids, *texts, judges)
            )
    return pairs


def read_verdicts(votes: Iterable[JudgeVote]) -> dict[tuple[str, str], float]:
    """Return the judge's score of the first answer against the second, for either order of ids.

    Of several valid votes on two answers (each is shown first once), the mean decides.
    """
    found: dict[tuple[str, str], list[float]] = {}
    for vote in votes:
        if vote["verdict"] is not None:
            score = WINS[vote["verdict"]]
            found.setdefault((vote["answer_a"], vote["answer_b"]), []).append(score)
            found.setdefault((vote["answer_b"], vote["answer_a"]), []).append(1 - score)
    return {ids: float(score_wins(sum(each) - len(each) / 2)) for ids, each in found.items()}


def pair_test_answers(
    models: Pair, prompts: Mapping[str, str], answers: Mapping[str, Sequence[PolicyAnswer]]
) -> list[AnswerPair]:
    """Pair two models' answers to the test prompts.

    Both are from one dataset if one has both. Otherwise the rewards are compared only if the same
    reward models gave them.

    Args:
        models: The two.
        prompts: Texts by id.
        answers: By dataset.
    """
    has = {name: {row["policy"] for row in rows} for name, rows in answers.items()}
    sources = [(a, b) for a in has for b in has if models[0] in has[a] and models[1] in has[b]]
    if not sources:
        return []
    name_a, name_b = min(sources, key=lambda names: names[0] != names[1])
    rewarded = name_a == name_b or same_judges(answers[name_a], answers[name_b])
    first = {r["prompt_id"]: r for r in answers[name_a] if r["policy"] == models[0]}
    second = {r["prompt_id"]: r for r in answers[name_b] if r["policy"] == models[1]}
    pairs = []
    for prompt_id, a in first.items():
        b = second.get(prompt_id)
        if b and prompt_id in prompts:
            pairs.append(
                AnswerPair(
                    source="+".join(dict.fromkeys((name_a, name_b))),
                    item_id=prompt_id,
                    question=prompts[prompt_id],
                    answer_a=a["answer_id"],
                    answer_b=b["answer_id"],
                    text_a=a["text"],
                    text_b=b["text"],
                    judges=_compare_rewards(a, b) if rewarded else {},
                )
            )
    return pairs


def same_judges(one: Iterable[PolicyAnswer], other: Iterable[PolicyAnswer]) -> bool:
    """Say whether the same reward models scored both: answers in both have the same rewards."""
    known = {row["answer_id"]: row for row in one}
    both = [(known[row["answer_id"]], row) for row in other if row["answer_id"] in known]
    return bool(both) and all(
        isclose(a["reward"], b["reward"], abs_tol=SAME_REWARD)
        and isclose(a["held_out_reward"], b["held_out_reward"], abs_tol=SAME_REWARD)
        for a, b in both
    )


def _compare_rewards(a: PolicyAnswer, b: PolicyAnswer) -> dict[str, float]:
    return {
        "reward_model": float(score_wins(a["reward"] - b["reward"])),
        "held_out_reward_model": float(score_wins(a["held_out_reward"] - b["held_out_reward"])),
    }


def check_same_models(models: Pair, fingerprints: Mapping[str, Mapping[str, str]]) -> None:
    """Refuse answers of two different models of one name; `fingerprints` by dataset and model.

    Raises UserError, such as after a policy was trained anew and not evaluated since.
    """
    for model in models:
        found = {name: each[model] for name, each in fingerprints.items() if model in each}
        if len(set(found.values())) > 1:
            raise UserError(
                f"policy {model}: its answers in {' and '.join(found)} are of different models; "
                "run `kedro run` first, with the same --env, so that they are of one"
            )
