"""What each way from the comparisons gains over the base model and takes, by hand."""

from typing import Any

import pytest

from almost_kedro.evaluation.ways import compare_ways
from almost_kedro.pages.report.tables import tabulate_ways
from almost_kedro.rows.training import PolicyAnswer

# Held-out rewards on two prompts, the first of which everybody answered.
REWARDS = {
    "base": {"p1": 0.0, "p2": 1.0},
    "prompted": {"p1": 9.0, "p2": 9.0},
    "dpo": {"p1": 1.0, "p2": 3.0},
    "best_of_n": {"p1": 2.0, "p2": 3.0},
    "sft": {"p1": 0.5, "p2": 1.5},
    "rl": {"p1": -1.0},
}


def make_answers(rewards: dict[str, dict[str, float]]) -> list[PolicyAnswer]:
    return [
        PolicyAnswer(
            answer_id=f"{policy}-{prompt}",
            prompt_id=prompt,
            policy=policy,
            text="Yes.",
            finish_reason="eos",
            n_tokens=2,
            reward=-5.0,
            held_out_reward=reward,
        )
        for policy, found in rewards.items()
        for prompt, reward in found.items()
    ]


def take(seconds: float, tokens: int) -> dict[str, Any]:
    return {"seconds": seconds, "tokens": tokens, "peak_memory_mb": 1.0}


METRICS: dict[str, Any] = {
    "reward_model_training_metrics": take(10, 1000),
    "held_out_reward_model_training_metrics": take(10000, 10**9),
    "self_play_costs_metrics": {"turn 1, answers": take(20, 200), "turn 1, rewards": take(3, 30)},
    "sft_policy_training_metrics": take(40, 400),
    "rl_policy_training_metrics": take(80, 800),
    "dpo_policy_training_metrics": {**take(50, 500), "reference": take(5, 50)},
    "sft_policy_metrics": {"test": "T"},
    "rl_policy_metrics": {"test": "T"},
    "dpo_policy_metrics": {"best_of": 4, "test": "T"},
}


def test_each_way_has_its_gain_over_the_base_and_all_that_it_needs() -> None:
    ways = {way.name: way for way in compare_ways(METRICS, make_answers(REWARDS), seed=0)}
    assert list(ways) == ["best_of_n", "sft", "rl", "dpo"]
    gains = {name: (way.n, way.held_out["value"]) for name, way in ways.items()}
    assert gains == {"best_of_n": (2, 2.0), "sft": (2, 0.5), "rl": (1, -1.0), "dpo": (2, 1.5)}
    assert {way.repetition["value"] for way in ways.values()} == {0.0}
    # Both prompts gain between 1 and 2.
    assert (ways["dpo"].held_out["low"], ways["dpo"].held_out["high"]) == (1.0, 2.0)
    costs = {name: (way.seconds, way.tokens, way.answers) for name, way in ways.items()}
    assert costs == {
        "best_of_n": (10, 1000, 4),
        "sft": (10 + 23 + 40, 1000 + 230 + 400, 1),
        "rl": (10 + 23 + 40 + 80, 1000 + 230 + 400 + 800, 1),
        "dpo": (55, 550, 1),
    }


def test_of_two_answers_to_a_prompt_the_first_counts() -> None:
    again = make_answers({"base": {"p1": 7.0}, "dpo": {"p1": 8.0}})
    ways = compare_ways(METRICS, [*make_answers(REWARDS), *again], seed=0)
    assert ways[-1].held_out["value"] == 1.5


def test_without_dpo_nothing_is_compared_and_without_rl_the_others_are() -> None:
    without = {name: data for name, data in METRICS.items() if name != "dpo_policy_metrics"}
    assert compare_ways(without, make_answers(REWARDS), seed=0) == []
    rewards = {name: REWARDS[name] for name in ("base", "dpo")}
    assert [way.name for way in compare_ways(METRICS, make_answers(rewards), 0)] == ["dpo"]


def test_a_way_to_answers_that_repeat_themselves_says_so() -> None:
    rows = make_answers(REWARDS)
    looping = {"dpo": "So it is so. " * 6, "base": "It is so, as far as anybody here can tell."}
    for row in rows:
        row["text"] = looping.get(row["policy"], row["text"])
    way = compare_ways(METRICS, rows, seed=0)[-1]
    # Of 27 runs of the 30 words and marks, five are new.
    assert way.repetition["value"] == pytest.approx(22 / 27)
    assert way.held_out["value"] == 1.5


def test_the_table_has_them_below_one_another() -> None:
    table = tabulate_ways(compare_ways(METRICS, make_answers(REWARDS), seed=0))
    same = "+0.0 points [+0.0, +0.0]"
    assert table.rows[0] == ("best of n", "2", "+2.00 [+2.00, +2.00]", same, "10.0", "1,000", "4")
    assert table.rows[-1] == ("dpo", "2", "+1.50 [+1.00, +2.00]", same, "55.0", "550", "1")


def test_a_reward_that_is_none_is_refused() -> None:
    rewards = {**REWARDS, "dpo": {"p1": float("nan")}}
    with pytest.raises(ValueError, match="nan"):
        compare_ways(METRICS, make_answers(rewards), seed=0)


def test_only_what_was_tested_alike_is_compared() -> None:
    """Rewards of two reward models are no one scale."""
    metrics = {**METRICS, "rl_policy_metrics": {"test": "another"}}
    ways = compare_ways(metrics, make_answers(REWARDS), seed=0)
    assert [way.name for way in ways] == ["best_of_n", "sft", "dpo"]


def test_costs_of_which_a_part_is_not_counted_are_at_least_that() -> None:
    cached = {**take(0, 0), "requests_generated": 0, "requests_from_cache": 9}
    resumed = {**take(8, 80), "resumed_from_step": 3}
    metrics = {
        **METRICS,
        "self_play_costs_metrics": {"turn 1, answers": cached},
        "dpo_policy_training_metrics": resumed,
    }
    ways = compare_ways(metrics, make_answers(REWARDS), seed=0)
    whole = {"best_of_n": True, "sft": False, "rl": False, "dpo": False}
    assert {way.name: way.whole for way in ways} == whole
    assert tabulate_ways(ways).rows[-1][4:6] == ("at least 8.0", "at least 80")
