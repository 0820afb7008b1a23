"""The lines at the end of a run."""

from typing import Any

from report_findings import NO_GAIN, WORTH, make_metrics, make_reward_report

from almost_kedro.evaluation.statistics import show_share
from almost_kedro.hooks.summary_lines import (
    conclude,
    describe_ensemble,
    describe_evaluation,
    describe_mismatched,
    describe_policies,
    describe_reward_model,
    describe_seeds,
    describe_self_play,
)

SHARE = {"value": 0.6, "low": 0.5, "high": 0.7}


def test_the_reward_model_stands_beside_the_floors() -> None:
    metrics = {"n": 40, "accuracy": SHARE, "floors": {"longer_wins": {**SHARE, "value": 0.55}}}
    assert describe_reward_model(metrics, {"passed": True, "reasons": []}) == [
        "reward model, 40 held-out comparisons: right in 60.0% [50.0%, 70.0%]",
        "  longer wins: 55.0% [50.0%, 70.0%]",
        "  gate: passed",
    ]
    lines = describe_reward_model(metrics, {"passed": False, "reasons": ["too few", "too wide"]})
    assert lines[-2:] == ["  gate: not passed: too few", "  gate: not passed: too wide"]


def test_without_held_out_comparisons_it_says_so() -> None:
    assert describe_reward_model({"n": 0}, {}) == ["reward model: no held-out comparisons"]


def test_what_other_pairs_and_other_reward_models_gave_is_said_where_they_are_on() -> None:
    accuracy = {"reward": SHARE, "held_out": SHARE}
    pairs = {"n_pairs": 300, "n_held_out": 60, "accuracy": accuracy}
    assert describe_mismatched(pairs) == [
        "  mismatched pairs: 300; of 60 held-out ones, the reward model is right in 60.0% [50.0%, "
        "70.0%], the held-out one in 60.0% [50.0%, 70.0%]"
    ]
    assert describe_mismatched({"n_pairs": 0}) == []
    gain = {"value": 0.1, "low": -0.05, "high": 0.25, "low_one_sided": -0.02}
    members = [{**SHARE, "value": 0.5}, SHARE]
    together = {"n_members": 2, "members": members, "used": SHARE, "gain": gain}
    assert describe_ensemble(together) == [
        "  2 reward models as one: right in 60.0% [50.0%, 70.0%], alone in 50.0%, 60.0%; gain "
        "+10.0 points [-5.0, +25.0]"
    ]
    [line] = describe_ensemble({**together, "contrasts": ["size", "topic"]})
    assert "alone in size 50.0%, topic 60.0%; gain" in line
    assert describe_ensemble({"n_members": 1}) == []


def test_several_seeds_show_what_chance_does() -> None:
    metrics = {"n_seeds": 2, "accuracies": [0.5, 0.7], "mean": SHARE}
    assert describe_seeds(metrics) == [
        "  trained with 2 seeds: 50.0%, 70.0%; right in 60.0% [50.0%, 70.0%] on average"
    ]
    assert describe_seeds({"n_seeds": 1, "accuracies": [0.5], "mean": SHARE}) == []
    assert describe_seeds({"n_seeds": 2}) == []


def test_self_play_shows_both_gains() -> None:
    gain = {
        "n": 4,
        "reward": 0.5,
        "reward_low": 0.4,
        "reward_high": 0.6,
        "held_out_reward": -0.1,
        "held_out_low": -0.2,
        "held_out_high": 0.0,
    }
    (line,) = describe_self_play({"n_kept": 10, "n_candidates": 40, "gain": gain})
    assert line == (
        "self-play: 10 answers kept of 40 candidates; best of 4 gains +0.500 [+0.400, +0.600] in "
        "reward, -0.100 [-0.200, +0.000] in held-out reward"
    )
    assert describe_self_play({"n_kept": 0, "n_candidates": 4, "gain": None}) == [
        "self-play: 0 answers kept of 4 candidates"
    ]


def test_policies_are_compared_by_the_held_out_reward_with_the_gates_caveat() -> None:
    values = {"n": 30, "held_out_reward": {"value": 0.25, "low": 0.1, "high": 0.4}}
    metrics = {"gate_passed": False, "differences": {"sft-vs-base": values}}
    assert describe_policies(metrics) == [
        "sft against base, 30 test prompts: held-out reward +0.250 [+0.100, +0.400] "
        "(gate not passed)"
    ]


def test_a_policy_that_is_shown_to_repeat_itself_more_has_a_line_more() -> None:
    values = {
        "n": 30,
        "held_out_reward": {"value": 2.0, "low": 1.0, "high": 3.0},
        "repetition": {"value": 0.4, "low": 0.3, "high": 0.5},
    }
    rates = {"sft": {"value": 0.45, "low": 0.35, "high": 0.55}, "base": SHARE}
    metrics = {
        "gate_passed": True,
        "policies": {name: {"repetition": rate} for name, rate in rates.items()},
        "differences": {"sft-vs-base": values},
    }
    _, line = describe_policies(metrics)
    assert line == (
        "  sft repeats itself more than base: 45.0% [35.0%, 55.0%] of its runs of 4 words stood "
        f"before in the answer, {show_share(SHARE)} of base's"
    )
    values["repetition"]["low"] = 0.0
    assert len(describe_policies(metrics)) == 1


def test_all_models_stand_side_by_side_with_the_floors_below() -> None:
    hhh = {
        "n": 56,
        "models": {"base": {"accuracy": SHARE}, "reward_model": {"accuracy": SHARE}},
        "floors": {"longer_wins": {"accuracy": SHARE}},
        "position_bias": {
            "base": {"flips": {**SHARE, "value": 0.25}},
            "prompted": {"flips": {**SHARE, "value": 1.0}},
        },
    }
    mc1 = {"n": 40, "models": {"base": {"accuracy": SHARE}}, "floors": {}}
    likelihood = {"n": 56, "models": {"prompted": {"accuracy": SHARE}}, "floors": {}}
    card = {"model_a": "prompted", "model_b": "base", "win_rate": SHARE}
    questions: dict[str, Any] = {
        "n": 9,
        "models": {"base": {}, "prompted": {}},
        "cards": {"prompted-vs-base": card, "rl-vs-sft": {**card, "model_b": "sft"}},
        "judge": "someone",
    }
    trained = {
        "n_prompts": 30,
        "prompts_that_repeat": 2,
        "n_demonstrations": 8,
        "demonstrations_that_repeat": 1,
    }
    metrics = {
        "gate_passed": False,
        "hhh": hhh,
        "hhh_likelihood": likelihood,
        "hhh_per_token": likelihood,
        "mc1": mc1,
        "preferences": {"hhh": {**hhh, "models": {"sft": {"accuracy": SHARE}}}},
        "questions": questions,
        "contamination": {"training": trained},
    }
    share = "60.0% [50.0%, 70.0%]"
    lines = describe_evaluation(metrics)
    assert lines[0] == "all models, with 95 % intervals (gate not passed):"
    assert [line.split() for line in lines[2:6]] == [
        ["base", *share.split(), *share.split()],
        ["prompted", *share.split(), *share.split(), *share.split()],
        ["reward", "model", *share.split()],
        ["longer", "wins", *share.split()],
    ]
    place = lines[1].index("wins against base (9 questions)")
    assert lines[3].rindex(share) == place
    assert lines[4].index(share) == lines[1].index("HHH (56 pairs)")
    assert lines[6:] == describe_rest("")
    questions["cards"] = {"prompted-vs-base": {**card, "n_votes": 48, "n_valid": 36}}
    assert describe_evaluation(metrics)[6:] == describe_rest(
        "  of the judge, 12 of 48 votes (25%) are invalid: kedro rows judge_votes --where "
        "valid=false"
    )
    questions["judge_worth"] = WORTH
    said = (
        "  judge of the answers: someone, right in 70.0% [55.0%, 80.0%] of 56 HHH pairs, of "
        "another opinion in the other order in 25%, with 90% of its probability on letters"
    )
    assert said in describe_evaluation(metrics)


def describe_rest(invalid: str) -> list[str]:
    return [
        "  HHH answered with the same letter in both orders: base 25%, prompted 100%",
        "  right answer preferred in hhh (56 items; policies by implicit reward): sft "
        "60.0% [50.0%, 70.0%], longer wins 60.0% [50.0%, 70.0%]",
        "  judge of the answers: someone",
        *([invalid] if invalid else []),
        "  of what they were trained on, 2 of 30 prompts, 1 of 8 demonstrations repeat a benchmark "
        "item",
    ]


def test_the_last_lines_say_what_a_run_shows_and_what_not() -> None:
    found = make_metrics()
    rl = found["rl_policy_metrics"]["differences"]["rl-vs-sft"]
    rl["held_out_reward"] = NO_GAIN
    assert conclude(found)[1:] == [
        "  the reward model learned more than what reads nothing: shown, right in 60.0% [55.0%, "
        "65.0%] of held-out comparisons, surface in 51.0% [45.0%, 55.0%]",
        "  choosing by it helps: shown, best of 4 +0.500 [+0.400, +0.600] in held-out reward",
        "  the policies are better than what they started from: shown of sft against base, +0.100 "
        "[+0.050, +0.150]; not shown of rl against sft, +0.100 [-0.050, +0.250]",
    ]


def test_where_there_is_nothing_to_test_nothing_is_claimed() -> None:
    none = {"n": 0, "n_prompts": 0}
    _, learned, helps, _ = conclude(
        make_metrics(reward_model_metrics=none, self_play_metrics={"gain": None})
    )
    assert learned.endswith("reads nothing: there is nothing to test it on")
    assert helps.endswith("helps: there is nothing to test it on")


def test_a_reward_model_that_did_not_pass_the_gate_shows_nothing() -> None:
    gate = {"passed": False, "reasons": ["it is too sure"]}
    assert ": not shown, right in" in conclude(make_metrics(gate=gate))[1]
    above = {"difference": 0.1, "low": -0.14, "high": 0.34, "low_one_sided": -0.1}
    report = make_reward_report(above_best_floor=above)
    assert ": not shown, right in" in conclude(make_metrics(reward_model_metrics=report))[1]


def test_an_interval_of_a_few_prompts_shows_nothing() -> None:
    found = make_metrics()
    found["self_play_metrics"]["gain"]["n_groups"] = 4
    found["sft_policy_metrics"]["differences"]["sft-vs-base"]["n"] = 4
    _, _, helps, better = conclude(found)
    assert ": not shown, best of 4" in helps
    assert ": not shown of sft against base" in better
