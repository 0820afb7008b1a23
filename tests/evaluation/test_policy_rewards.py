"""Rewards of policies on the same prompts."""

import pytest
from made_rows import make_prompt

from almost_kedro.contract import Completion
from almost_kedro.errors import UserError
from almost_kedro.evaluation.policy_rewards import (
    add_rewards,
    compare_policies,
    keep_answered,
    make_policy_answers,
)
from almost_kedro.rows.training import PolicyAnswer

PROMPTS = [make_prompt(f"p{i}") for i in range(4)]


def make_rows(policy: str, rewards: list[float]) -> list[PolicyAnswer]:
    answers = [(f"{policy}{i}", Completion(" An answer.", "eos", 3)) for i in range(len(rewards))]
    rows = make_policy_answers(PROMPTS[: len(rewards)], policy, answers, "corrected")
    found = {row["answer_id"]: reward for row, reward in zip(rows, rewards, strict=True)}
    return add_rewards(rows, found, {id_: 2 * reward for id_, reward in found.items()})


def test_an_answer_is_cut_as_in_generation_and_never_dropped() -> None:
    completions = [
        ("a", Completion(" Yes. \n\nHuman: more", "eos", 5)),
        ("b", Completion("", "eos", 0)),
    ]
    rows = make_policy_answers(PROMPTS[:2], "sft", completions, "corrected")
    assert [row["text"] for row in rows] == ["Yes.", ""]
    assert len({row["answer_id"] for row in rows}) == 2


def test_what_a_server_refused_for_one_policy_is_compared_for_none() -> None:
    good, refused = Completion(" Yes.", "eos", 3), Completion("", "refused", 0)
    empty, withheld = Completion("", "eos", 1), Completion("", "withheld", 0)
    completions = {
        "base": [("a", good), ("b", refused), ("c", empty), ("d", good)],
        "sft": [("e", good), ("f", good), ("g", good), ("h", withheld)],
    }
    prompts, kept = keep_answered(PROMPTS, completions)
    assert [prompt["prompt_id"] for prompt in prompts] == ["p0", "p2"]
    assert kept == {"base": [("a", good), ("c", empty)], "sft": [("e", good), ("g", good)]}
    assert keep_answered(PROMPTS[:1], {"base": [("a", good)]})[0] == PROMPTS[:1]
    with pytest.raises(UserError, match="none of 1 requests was answered for all of base, sft"):
        keep_answered(PROMPTS[:1], {"base": [("a", good)], "sft": [("e", refused)]})


def test_differences_are_paired_by_prompt() -> None:
    rows = make_rows("old", [0.0, 1.0, 2.0, 3.0]) + make_rows("new", [1.0, 2.0, 3.0, 4.0])
    found = compare_policies(rows, [("new", "old")], seed=0)
    assert found["policies"]["old"]["reward"]["value"] == 1.5
    assert found["policies"]["old"]["length"] == len("An answer.")
    difference = found["differences"]["new-vs-old"]
    # Every prompt gains exactly 1 (2 by the held-out model), so the interval has no width.
    assert difference["reward"]["value"] == pytest.approx(1)
    assert difference["reward"]["low"] == pytest.approx(1)
    assert difference["held_out_reward"]["value"] == pytest.approx(2)
    assert difference["held_out_win_rate"]["value"] == 1


def test_a_tie_is_half_a_win() -> None:
    rows = make_rows("old", [1.0, 1.0]) + make_rows("new", [1.0, 2.0])
    found = compare_policies(rows, [("new", "old")], seed=0)
    assert found["differences"]["new-vs-old"]["held_out_win_rate"]["value"] == 0.75
