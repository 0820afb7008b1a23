"""The policies' answers to the test prompts, and how their rewards compare."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import compress
from statistics import mean
from typing import TypeVar

from almost_kedro.contract import Completion, row_id
from almost_kedro.errors import UserError
from almost_kedro.evaluation.statistics import bootstrap_difference, bootstrap_mean
from almost_kedro.feedback.ledger import check_served
from almost_kedro.feedback.repetition import measure_repetition
from almost_kedro.feedback.responses import extract_answer
from almost_kedro.options.rules import Rules
from almost_kedro.rows.feedback import Prompt
from almost_kedro.rows.finite import require_finite
from almost_kedro.rows.metrics import (
    Estimate,
    PolicyComparison,
    PolicyRewards,
    RewardDifference,
)
from almost_kedro.rows.training import PolicyAnswer

# A prompt or a question.
Item = TypeVar("Item")
Completions = Mapping[str, Sequence[tuple[str, Completion]]]


def keep_answered(
    asked: Sequence[Item], completions: Completions
) -> tuple[list[Item], dict[str, list[tuple[str, Completion]]]]:
    """Leave out, for all policies, each request that a server refused or withheld from one.

    Nobody wrote an empty answer there, and policies are compared on the same prompts. `completions`
    has a request key and a completion for each item asked. Raises UserError if none is left.
    """
    rows = zip(*completions.values(), strict=True)
    served = [all(check_served(found.finish_reason).kept for _, found in row) for row in rows]
    if not any(served):
        raise UserError(
            f"none of {len(asked)} requests was answered for all of {', '.join(completions)}; the "
            "log has what the servers said"
        )
    kept = {name: list(compress(found, served)) for name, found in completions.items()}
    return list(compress(asked, served)), kept


def make_policy_answers(
    prompts: Sequence[Prompt],
    policy: str,
    completions: Iterable[tuple[str, Completion]],
    rules: Rules,
) -> list[PolicyAnswer]:
    """Make one policy's rows, with rule 11 applied; `add_rewards` fills in their rewards.

    Nothing is dropped: a policy that answers badly must not look better for it.
    """
    rows = []
    for prompt, (key, completion) in zip(prompts, completions, strict=True):
        rows.append(
            PolicyAnswer(
                answer_id=row_id("policy_answer", key, prompt["prompt_id"], policy),
                prompt_id=prompt["prompt_id"],
                policy=policy,
                text=extract_answer(completion.text, completion.finish_reason, rules),
                finish_reason=completion.finish_reason,
                n_tokens=completion.n_tokens,
                reward=0.0,
                held_out_reward=0.0,
            )
        )
    return rows


def add_rewards(
    rows: Sequence[PolicyAnswer], rewards: Mapping[str, float], held_out: Mapping[str, float]
) -> list[PolicyAnswer]:
    """Add the rewards, by answer_id; raise UserError for one that is not finite."""

    def find(by_id: Mapping[str, float], row: PolicyAnswer, name: str) -> float:
        answer = f"{row['policy']}'s answer {row['answer_id']}"
        return require_finite(by_id[row["answer_id"]], f"the {name} of {answer}")

    return [
        {
            **row,
            "reward": find(rewards, row, "reward"),
            "held_out_reward": find(held_out, row, "held-out reward"),
        }
        for row in rows
    ]


def keep_common(rows: Sequence[PolicyAnswer]) -> list[PolicyAnswer]:
    """Keep the answers to prompts that all policies answered."""
    by_prompt: dict[str, set[str]] = {}
    for row in rows:
        by_prompt.setdefault(row["prompt_id"], set()).add(row["policy"])
    policies = {row["policy"] for row in rows}
    return [row for row in rows if by_prompt[row["prompt_id"]] == policies]


def compare_policies(
    rows: Sequence[PolicyAnswer], pairs: Sequence[tuple[str, str]], seed: int
) -> PolicyComparison:
    """Summarise each policy's rewards, and the differences on the same prompts.

    All intervals hold with 95 %, by bootstrap over prompts. `rows` are all policies' answers to the
    same prompts, in the same order. A pair is the new policy, then the old one.
    """
    by_policy: dict[str, list[PolicyAnswer]] = {}
    for row in rows:
        by_policy.setdefault(row["policy"], []).append(row)
    return PolicyComparison(
        policies={name: _describe(answers, seed) for name, answers in by_policy.items()},
        differences={
            f"{new}-vs-{old}": _compare(by_policy[new], by_policy[old], seed) for new, old in pairs
        },
    )


def _describe(answers: Sequence[PolicyAnswer], seed: int) -> PolicyRewards:
    ids = [row["prompt_id"] for row in answers]
    return PolicyRewards(
        n=len(answers),
        reward=_average([row["reward"] for row in answers], ids, seed),
        held_out_reward=_average([row["held_out_reward"] for row in answers], ids, seed),
        length=round(mean(len(row["text"]) for row in answers), 1),
        repetition=_average(_list_repetitions(answers), ids, seed),
        share_cut_off=mean(row["finish_reason"] == "length" for row in answers),
        share_ended_by_eos=mean(row["finish_reason"] == "eos" for row in answers),
    )


def _compare(
    new: Sequence[PolicyAnswer], old: Sequence[PolicyAnswer], seed: int
) -> RewardDifference:
    ids = [row["prompt_id"] for row in new]
    rewards, old_rewards = ([row["reward"] for row in rows] for rows in (new, old))
    held_out, old_held_out = ([row["held_out_reward"] for row in rows] for rows in (new, old))
    repetition, old_repetition = _list_repetitions(new), _list_repetitions(old)
    wins = [(a > b) / 2 + (a >= b) / 2 for a, b in zip(held_out, old_held_out, strict=True)]
    return RewardDifference(
        n=len(new),
        reward=bootstrap_difference(rewards, old_rewards, ids, seed).to_dict(),
        held_out_reward=bootstrap_difference(held_out, old_held_out, ids, seed).to_dict(),
        held_out_win_rate=_average(wins, ids, seed),
        repetition=bootstrap_difference(repetition, old_repetition, ids, seed).to_dict(),
    )


def _list_repetitions(answers: Sequence[PolicyAnswer]) -> list[float]:
    return [measure_repetition(row["text"]) for row in answers]


def _average(values: Sequence[float], ids: Sequence[str], seed: int) -> Estimate:
    low, high = bootstrap_mean(values, ids, seed)
    return Estimate(value=mean(values), low=low, high=high)
