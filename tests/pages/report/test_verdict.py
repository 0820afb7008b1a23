"""The three lines at the top."""

from typing import Any

import pytest
from report_findings import (
    EVEN,
    GAIN,
    NO_GAIN,
    SHARE,
    WORTH,
    make_evaluation,
    make_metrics,
    make_reward_report,
)

from almost_kedro.pages.report.verdict import judge_policies, judge_reward_model, reach_verdict

PASSED = {"passed": True, "reasons": []}
FAILED = {"passed": False, "reasons": ["too sure"]}
CHANCE = {"difference": 0.09, "low": -0.1, "high": 0.28, "low_one_sided": -0.06}


def test_a_run_whose_every_step_gains_has_three_good_lines() -> None:
    lines = reach_verdict(make_metrics())
    assert [line.mark for line in lines] == ["yes", "yes", "yes"]
    assert lines[2].answer == "None: each step shows a gain over the one before."


def test_the_reward_model_is_judged_against_the_best_floor() -> None:
    line = judge_reward_model(make_reward_report(), PASSED)
    assert line.answer == "Yes: more than any judge that reads nothing."
    assert line.details == (
        "It is right in 60.0% [55.0%, 65.0%] of 100 held-out comparisons; the best judge that "
        "reads nothing (surface) in 51.0% [45.0%, 55.0%].",
        "The difference is +9.0 points; with 95 % confidence it is above +3.0. The gate is passed.",
    )


def test_what_chance_can_do_is_not_shown() -> None:
    line = judge_reward_model(make_reward_report(above_best_floor=CHANCE), FAILED)
    assert line.mark == "open"
    assert line.answer == "Not shown: it may be no better than a judge that reads nothing."
    assert line.details[1].endswith("above -6.0. The gate is not passed.")


def test_a_handful_of_prompts_shows_nothing_whatever_the_interval() -> None:
    line = judge_reward_model(make_reward_report(n_prompts=4), FAILED)
    assert line.mark == "open"
    assert line.answer.startswith("Not shown")


def test_a_gate_that_fails_for_something_else_is_said() -> None:
    line = judge_reward_model(make_reward_report(), FAILED)
    assert line.mark == "open"
    assert line.answer == "Yes, more than the floors; but it did not pass the gate."


def test_without_held_out_comparisons_nothing_is_known() -> None:
    line = judge_reward_model({"n": 0, "n_prompts": 0}, FAILED)
    assert (line.mark, line.details) == ("open", ())
    assert line.answer == "Unknown: there are no held-out comparisons."


def test_policies_stand_against_base_by_the_judge_and_on_all_benchmarks() -> None:
    line = judge_policies(make_evaluation(NO_GAIN, EVEN))
    assert line.mark == "open"
    assert line.answer == "Not shown: none of 10 comparisons shows a gain."
    assert line.details[0] == (
        "sft: wins 50.0% [45.0%, 55.0%] of 400 questions by the judge: not shown; "
        "HHH +10.0 points [-5.0, +25.0]: not shown; HHH by likelihood +10.0 points [-5.0, +25.0]: "
        "not shown; HHH per token +10.0 points [-5.0, +25.0]: not shown; "
        "MC1 +10.0 points [-5.0, +25.0]: not shown."
    )
    assert line.details[1].startswith("rl: ")


def test_what_the_judges_word_is_worth_stands_beside_it() -> None:
    evaluation = make_evaluation(NO_GAIN, EVEN)
    evaluation["questions"]["judge_worth"] = WORTH
    assert (
        judge_policies(evaluation)
        .details[0]
        .startswith(
            "sft: wins 50.0% [45.0%, 55.0%] of 400 questions by the judge (right in 70.0% [55.0%, "
            "80.0%] of HHH pairs): not shown; "
        )
    )


def test_an_interval_that_ends_at_no_gain_is_not_shown() -> None:
    edge = {"value": 0.1, "low": 0.0, "high": 0.2}
    assert judge_policies(make_evaluation(edge, {**SHARE, "low": 0.5})).mark == "open"


def test_gains_are_named() -> None:
    line = judge_policies(make_evaluation(NO_GAIN, SHARE))
    assert line.mark == "yes"
    assert (
        line.answer
        == "Yes, in 2 of 10 comparisons: the judge's votes (sft), the judge's votes (rl)."
    )


def test_a_loss_is_no_less_visible_than_a_gain() -> None:
    loss = {"value": -0.1, "low": -0.2, "high": -0.05}
    mixed: dict[str, Any] = make_evaluation(GAIN, EVEN)
    for name in ("hhh_likelihood", "hhh_per_token"):
        mixed[name] = {**mixed[name], "differences": {}}
    mixed["mc1"] = {**mixed["mc1"], "differences": {"rl-vs-base": loss}}
    line = judge_policies(mixed)
    assert line.mark == "no"
    assert line.answer == "Mixed: worse in MC1 (rl); better in HHH (sft), HHH (rl)."
    worse = judge_policies(make_evaluation(loss, EVEN))
    benchmarks = ("HHH", "HHH by likelihood", "HHH per token", "MC1")
    named = [f"{name} ({stage})" for stage in ("sft", "rl") for name in benchmarks]
    assert worse.answer == f"No: worse in {', '.join(named)}."


@pytest.mark.parametrize("by_letter", ["base", "sft"])
def test_who_goes_by_the_letter_is_neither_better_nor_worse(by_letter: str) -> None:
    """Neither is the other one, whom it is compared with."""
    loss = {"value": -0.1, "low": -0.2, "high": -0.05}
    evaluation: dict[str, Any] = make_evaluation(NO_GAIN, SHARE)
    bias = {name: {"flips": {**EVEN, "value": 0.1}} for name in ("base", "sft")}
    evaluation["hhh"] = {
        **evaluation["hhh"],
        "differences": {"sft-vs-base": loss},
        "position_bias": bias,
    }
    assert "worse in HHH (sft)" in judge_policies(evaluation).answer
    bias[by_letter]["flips"]["value"] = 0.5
    line = judge_policies(evaluation)
    assert line.answer == (
        "Yes, in 2 of 8 comparisons: the judge's votes (sft), the judge's votes (rl)."
    )
    assert "HHH -10.0 points [-20.0, -5.0]: by the letter, so it tells nothing" in line.details[0]


def test_two_at_chance_are_neither_better_nor_worse() -> None:
    """A base model below chance by accident makes no trained one better."""
    evaluation: dict[str, Any] = make_evaluation(NO_GAIN, EVEN)
    gain = {"value": 0.11, "low": 0.02, "high": 0.2}
    below, at_chance = ({"value": v, "low": v - 0.1, "high": v + 0.1} for v in (0.18, 0.29))
    models = {"base": {"accuracy": below}, "sft": {"accuracy": at_chance}}
    chance = {"chance": {"accuracy": {"value": 0.25, "low": 0.25, "high": 0.25}}}
    evaluation["mc1"] |= {"floors": chance, "differences": {"sft-vs-base": gain}, "models": models}
    for name in ("hhh", "hhh_likelihood", "hhh_per_token"):
        evaluation[name] = {**evaluation[name], "differences": {}}
    line = judge_policies(evaluation)
    assert line.answer == "Not shown: none of 2 comparisons shows a gain."
    said = "MC1 +11.0 points [+2.0, +20.0]: neither is above chance, so it tells nothing"
    assert said in line.details[0]
    # One of them is above it: what it gained, or lost, counts.
    for policy, difference, word in (
        ("sft", gain, "Yes"),
        ("base", {k: -v for k, v in gain.items()}, "No"),
    ):
        models |= {"base": {"accuracy": below}, "sft": {"accuracy": at_chance}}
        models[policy] = {"accuracy": {"value": 0.4, "low": 0.3, "high": 0.5}}
        low, high = sorted((difference["low"], difference["high"]))
        found = {"value": difference["value"], "low": low, "high": high}
        evaluation["mc1"]["differences"] = {"sft-vs-base": found}
        assert judge_policies(evaluation).answer.startswith(word)


def test_without_a_valid_vote_the_judge_has_no_say() -> None:
    evaluation = make_evaluation(NO_GAIN)
    for card in evaluation["questions"]["cards"].values():
        card |= {"win_rate": None, "n_votes": 16, "n_valid": 0}
    line = judge_policies(evaluation)
    assert line.answer == (
        "Not shown: none of 8 comparisons shows a gain. The judge says nothing: none of its votes "
        "is valid."
    )
    assert line.details[-1] == (
        "Of the judge, 48 of 48 votes (100%) are invalid and count for nothing."
    )


def test_a_share_of_invalid_votes_is_said_with_the_figures() -> None:
    evaluation = make_evaluation()
    for card in evaluation["questions"]["cards"].values():
        card |= {"n_votes": 16, "n_valid": 12}
    line = judge_policies(evaluation)
    assert (
        line.details[-1] == "Of the judge, 12 of 48 votes (25%) are invalid and count for nothing."
    )
    assert "says nothing" not in line.answer
