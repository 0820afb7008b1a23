"""The first step that is not shown to gain anything."""

from typing import Any

import pytest
from report_findings import (
    EVEN,
    NO_GAIN,
    SHARE,
    make_evaluation,
    make_metrics,
    make_policies,
    make_reward_report,
)

from almost_kedro.pages.report.weak_link import count_needed, find_weakest_link

NO_BETTER = {"difference": 0.0, "low": -0.1, "high": 0.1, "low_one_sided": -0.08}
CHANCE = {"difference": 0.1, "low": -0.14, "high": 0.34, "low_one_sided": -0.1}
NO_GAIN_IN_SELF_PLAY = {
    "n": 4,
    "n_groups": 30,
    "held_out_reward": 0.1,
    "held_out_low": -0.1,
    "held_out_high": 0.3,
}


def lose(difference: str, **rewards: Any) -> dict[str, Any]:
    found = make_policies(difference)
    found["differences"][difference] |= {"held_out_reward": NO_GAIN, **rewards}
    return found


def find(**changes: Any) -> tuple[str, str, str]:
    link = find_weakest_link(make_metrics(**changes))
    assert link is not None
    return link


def test_a_chain_that_holds_has_none() -> None:
    assert find_weakest_link(make_metrics()) is None


@pytest.mark.parametrize(
    ("changes", "name", "why"),
    [
        (
            {"reward_model_metrics": make_reward_report(n=3, n_prompts=2)},
            "too few comparisons",
            "3 of them are held out, from 2 prompts; at least 5 are needed",
        ),
        (
            {"reward_model_metrics": {"n": 0, "n_prompts": 0}},
            "too few comparisons",
            "0 of them are held out",
        ),
        (
            {"reward_model_metrics": make_reward_report(above_best_floor=NO_BETTER)},
            "the reward model",
            "no more often than a judge that reads nothing",
        ),
        (
            {"reward_model_metrics": make_reward_report(above_best_floor=CHANCE)},
            "the reward model",
            "on 100 held-out comparisons chance alone can do as much",
        ),
        (
            {"gate": {"passed": False, "reasons": ["it is too sure"]}},
            "the reward model, which did not pass the gate",
            "but it is too sure.",
        ),
        ({"self_play_metrics": {"gain": None}}, "self-play", "No question has two usable answers"),
        (
            {"self_play_metrics": {"gain": NO_GAIN_IN_SELF_PLAY}},
            "self-play",
            "(+0.10 [-0.10, +0.30])",
        ),
        (
            {"sft_policy_metrics": lose("sft-vs-base")},
            "supervised fine-tuning",
            "On 40 test prompts",
        ),
        (
            {"rl_policy_metrics": lose("rl-vs-sft")},
            "reinforcement learning",
            "gains by the reward model that it was trained with",
        ),
        (
            {"rl_policy_metrics": lose("rl-vs-sft", reward=NO_GAIN)},
            "reinforcement learning",
            "not shown to gain even by the reward model",
        ),
        (
            {
                "rl_policy_metrics": lose("rl-vs-sft"),
                "rl_policy_training_metrics": {"stopped": True, "reason": "held-out reward fell"},
            },
            "reinforcement learning",
            "It was stopped: held-out reward fell.",
        ),
        (
            {"held_out_reward_model_metrics": make_reward_report(above_best_floor=CHANCE)},
            "the held-out reward model, which measures all this",
            "not shown to be better",
        ),
        (
            {"evaluation_metrics": make_evaluation(NO_GAIN)},
            "the way from rewards to benchmarks",
            "By rewards each step gains, but no benchmark shows it.",
        ),
    ],
)
def test_each_link_can_be_the_weakest(changes: dict[str, Any], name: str, why: str) -> None:
    link = find(**changes)
    assert link[0] == name
    assert why in link[1]


def test_the_first_weak_link_is_named_for_the_others_rest_on_it() -> None:
    link = find(
        reward_model_metrics=make_reward_report(above_best_floor=CHANCE),
        rl_policy_metrics=lose("rl-vs-sft"),
    )
    assert link[0] == "the reward model"


def test_it_is_said_how_many_comparisons_would_show_the_difference() -> None:
    # From +0.1, the bound is 0.2 away; to be 0.1 away, it needs 4 times the rows, and one more.
    report = make_reward_report(above_best_floor=CHANCE)
    assert count_needed(report) == 401
    assert "about 401 held-out comparisons" in find(reward_model_metrics=report)[2]


def test_models_that_answer_by_the_letter_are_told_apart_from_too_few_items() -> None:
    evaluation = make_evaluation(NO_GAIN)
    evaluation["hhh"]["position_bias"] = {"base": {"flips": {**SHARE, "value": 0.9}}}
    assert "same letter in both orders" in find(evaluation_metrics=evaluation)[1]
    evaluation["hhh"]["position_bias"] = {"base": {"flips": {**EVEN, "value": 0.1}}}
    assert "letter" not in find(evaluation_metrics=evaluation)[1]


@pytest.mark.parametrize("pair", ["sft-vs-base", "rl-vs-sft"])
def test_a_policy_that_repeats_itself_more_is_not_told_to_train_more(pair: str) -> None:
    new, old = pair.split("-vs-")
    found = lose(pair, repetition={"difference": 0.16, "low": 0.12, "high": 0.2})
    shares = {new: {**SHARE, "value": 0.23}, old: {**SHARE, "value": 0.07}}
    found["policies"] = {name: {"repetition": share} for name, share in shares.items()}
    link = find(**{f"{new}_policy_metrics": found})
    assert f"And {new} repeats itself more than {old}: 23.0%" in link[1]
    assert "max_repetition" in link[2]
    assert "more training" not in link[2]
    found["differences"][pair]["repetition"]["low"] = -0.01
    assert "max_repetition" not in find(**{f"{new}_policy_metrics": found})[2]


def test_a_benchmark_that_tells_nothing_shows_no_gain() -> None:
    """A policy at chance gains by accident on a base below it."""
    evaluation = make_evaluation()
    for name in ("hhh", "hhh_likelihood", "hhh_per_token", "mc1"):
        evaluation[name]["models"] = {key: {"accuracy": EVEN} for key in ("base", "sft", "rl")}
    assert find(evaluation_metrics=evaluation)[0] == "the way from rewards to benchmarks"


def test_an_interval_of_a_few_prompts_shows_no_gain() -> None:
    """The bootstrap of one prompt is a point."""
    gain = {"n": 4, "n_groups": 4, "held_out_reward": 0.5, "held_out_low": 0.5}
    assert find(self_play_metrics={"gain": {**gain, "held_out_high": 0.5}})[0] == "self-play"
    few = make_policies("sft-vs-base")
    few["differences"]["sft-vs-base"]["n"] = 4
    assert find(sft_policy_metrics=few)[0] == "supervised fine-tuning"
