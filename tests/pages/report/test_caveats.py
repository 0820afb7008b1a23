"""What the verdict does not show."""

from typing import Any

from report_findings import (
    EVEN,
    NO_GAIN,
    WORTH,
    make_evaluation,
    make_metrics,
    make_options,
    make_policies,
    make_reward_report,
)

from almost_kedro.pages.report.caveats import list_caveats

CHANCE = {"difference": 0.1, "low": -0.14, "high": 0.34, "low_one_sided": -0.1}


def find(options: dict[str, Any] | None = None, **changes: Any) -> str:
    return "\n".join(list_caveats(make_metrics(**changes), options or make_options()))


def test_a_gate_that_was_not_passed_says_why() -> None:
    text = find(gate={"passed": False, "reasons": ["too few", "too sure"]})
    assert "did not pass the gate" in text
    assert "too few; too sure." in text
    assert "gate" not in find()


def test_models_that_were_aligned_before_are_named() -> None:
    models = {"tiny": {"source": "hub", "aligned": True}}
    assert "Already aligned by its makers: tiny." in find(make_options(models=models))
    assert "aligned" not in find()


def test_what_models_yml_does_not_say_is_unknown() -> None:
    models = {"tiny": {"source": "hub", "aligned": None}}
    assert "does not say whether its makers aligned tiny already" in find(
        make_options(models=models)
    )


def test_the_own_judge_comes_from_the_same_rules() -> None:
    options = make_options(evaluation={"judge": "held_out_reward_model"})
    assert "the same synthetic rules" in find(options)
    assert "noise" not in find(options)
    report = make_reward_report(above_best_floor=CHANCE)
    assert "its votes may be noise" in find(options, held_out_reward_model_metrics=report)
    assert "noise" in find(options, held_out_reward_model_metrics={"n": 0, "n_prompts": 0})
    assert "synthetic rules" not in find()


def test_a_judge_that_knows_no_more_than_chance_is_doubted() -> None:
    evaluation = make_evaluation()
    evaluation["questions"]["judge_worth"] = WORTH
    assert "static HHH" not in find(evaluation_metrics=evaluation)
    guess = {**WORTH, "accuracy": {"value": 0.6, "low": 0.5, "high": 0.7}}
    evaluation["questions"]["judge_worth"] = guess
    assert (
        "The judge names the right answer in 60.0% [50.0%, 70.0%] of 56 pairs of static HHH: it is "
        "not shown to be better than chance, so its votes may be noise."
    ) in find(evaluation_metrics=evaluation)


def test_votes_that_could_not_be_read_are_counted() -> None:
    evaluation = make_evaluation()
    for card in evaluation["questions"]["cards"].values():
        card |= {"n_votes": 20, "n_valid": 20}
    assert "invalid" not in find(evaluation_metrics=evaluation)
    card["n_valid"] = 11
    assert "Of the judge's, 9 of 60 votes (15%) are invalid and count for nothing" in find(
        evaluation_metrics=evaluation
    )


def test_few_items_are_named_with_what_chance_does_to_them() -> None:
    evaluation = make_evaluation()
    evaluation["questions"]["n"] = 12
    # 1.96 * sqrt(0.25 / 12) = 0.283
    assert "Few items: 12 of the open questions (28 points)." in find(evaluation_metrics=evaluation)
    assert "Few items" not in find()


def test_own_sets_are_no_published_benchmark() -> None:
    assert "this project's own, no published benchmark: HHH, MC1, the open questions." in find()
    evaluation = make_evaluation()
    for name in ("hhh", "mc1"):
        evaluation[name] = {**evaluation[name], "source": {"kind": "hub"}}
    text = find(evaluation_metrics=evaluation)
    assert "no published benchmark: the open questions." in text
    assert "saw published items in its own training is not known" in text


def test_answers_by_the_letter_are_named() -> None:
    evaluation = make_evaluation()
    evaluation["hhh"]["position_bias"]["rl"] = {"flips": {**EVEN, "value": 0.95}}
    evaluation["hhh"]["position_bias"]["base"] = {"flips": {**EVEN, "value": 0.1}}
    text = find(evaluation_metrics=evaluation)
    assert "rl 95%" in text
    assert "base 10%" not in text


def test_a_gain_among_many_comparisons_may_be_chance() -> None:
    # 1 - 0.975 ** 10
    assert "in at least one in about 22% of runs" in find()
    assert "chance alone" not in find(evaluation_metrics=make_evaluation(NO_GAIN, EVEN))


def test_a_policy_that_repeats_itself_more_than_before_is_named() -> None:
    shown = {"value": 0.4, "low": 0.3, "high": 0.5}
    found = make_policies("sft-vs-base")
    found["policies"] = {"sft": {"repetition": shown}, "base": {"repetition": NO_GAIN}}
    found["differences"]["sft-vs-base"]["repetition"] = shown
    text = find(sft_policy_metrics=found)
    assert "sft repeats itself more than base: 40.0% [30.0%, 50.0%] of its runs" in text
    assert "Neither reward model need see that." in text
    found["differences"]["sft-vs-base"]["repetition"] = NO_GAIN
    assert "repeats itself" not in find(sft_policy_metrics=found)


def test_repeated_benchmark_items_are_counted() -> None:
    evaluation = make_evaluation()
    evaluation["contamination"]["training"]["prompts_that_repeat"] = 3
    assert "repeats a benchmark item: 3 of 70 prompts." in find(evaluation_metrics=evaluation)
    assert "repeats" not in find()
