"""What policies answer to the test prompts, and how their rewards compare."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import compress
from statistics import mean
from typing import Any, TypeVar

from almost_kedro.errors import UserError
from almost_kedro.evaluation.statistics import bootstrap_difference, bootstrap_mean
from almost_kedro.feedback.ledger import Rules, check_served
from almost_kedro.feedback.responses import extract_answer
from almost_kedro.finite import require_finite
from almost_kedro.generation.engine import Completion
from almost_kedro.rows import Prompt, row_id
from almost_kedro.training_rows import PolicyAnswer

REWARDS = ("reward", "held_out_reward")
# What is asked: a prompt, a question.
Item = TypeVar("Item")
Completions = Mapping[str, Sequence[tuple[str, Completion]]]


def keep_answered(
    asked: Sequence[Item], completions: Completions
) -> tuple[list[Item], dict[str, list[tuple[str, Completion]]]]:
    """Leave out, for all policies, what a server refused for one or did not answer.

    Nobody wrote an empty answer there, and policies are compared on the same prompts.

    Args:
        asked: What was asked.
        completions: By policy, the request key and the completion of each of them.

    Raises:
        UserError: If nothing is left.
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
    """Make one policy's rows, with rule 11 applied; their rewards are filled in by `add_rewards`.

    Nothing is dropped: a policy that answers badly shall not look better for it.
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
    """Return the rows with their rewards, by answer_id.

    Raises:
        UserError: The answer one of whose rewards is not finite.
    """

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


def compare_policies(
    rows: Sequence[PolicyAnswer], pairs: Sequence[tuple[str, str]], seed: int
) -> dict[str, Any]:
    """Summarise each policy's rewards, and the differences on the same prompts.

    All intervals hold with 95 %, by bootstrap over prompts.

    Args:
        rows: Every policy's answers to the same prompts, in the same order.
        pairs: Which policies are compared: the new one, then the old one.
        seed: Of the bootstrap.

    Returns:
        `policies`: by name, mean rewards, characters and the share ended by the token limit;
        `differences`: by "new-vs-old", differences of both rewards and the share of prompts on
        which the new one has the higher held-out reward (a tie is half).
    """
    policies = {}
    by_policy: dict[str, list[PolicyAnswer]] = {}
    for row in rows:
        by_policy.setdefault(row["policy"], []).append(row)
    for name, answers in by_policy.items():
        ids = [row["prompt_id"] for row in answers]
        policies[name] = {
            "n": len(answers),
            **{field: _average([row[field] for row in answers], ids, seed) for field in REWARDS},  # type: ignore[literal-required]
            "length": round(mean(len(row["text"]) for row in answers), 1),
            "share_cut_off": mean(row["finish_reason"] == "length" for row in answers),
        }
    differences = {}
    for new, old in pairs:
        a, b = by_policy[new], by_policy[old]
        ids = [row["prompt_id"] for row in a]
        wins = [
            (x["held_out_reward"] > y["held_out_reward"]) / 2
            + (x["held_out_reward"] >= y["held_out_reward"]) / 2
            for x, y in zip(a, b, strict=True)
        ]
        differences[f"{new}-vs-{old}"] = {
            "n": len(a),
            **{
                field: bootstrap_difference(
                    [row[field] for row in a],  # type: ignore[literal-required]
                    [row[field] for row in b],  # type: ignore[literal-required]
                    ids,
                    seed,
                )._asdict()
                for field in REWARDS
            },
            "held_out_win_rate": _average(wins, ids, seed),
        }
    return {"policies": policies, "differences": differences}


def _average(values: Sequence[float], ids: Sequence[str], seed: int) -> dict[str, float]:
    interval = bootstrap_mean(values, ids, seed)
    return {"value": mean(values), "low": interval.low, "high": interval.high}
