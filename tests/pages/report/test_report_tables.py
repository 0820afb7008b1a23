"""Tables of the report."""

from report_findings import EDGE, NO_GAIN, SHARE, make_evaluation, make_policies, make_reward_report

from almost_kedro.pages.report.numbers import drop_prefix
from almost_kedro.pages.report.tables import (
    tabulate_audit,
    tabulate_edges,
    tabulate_endings,
    tabulate_factors,
    tabulate_models,
    tabulate_rewards,
)

SHOWN = "60.0% [55.0%, 65.0%]"
COMPARISONS = {
    "edges": {EDGE: {"n": 200, "chosen_longer": 0.5}},
    "factors": {"shots": 200},
}


def test_models_stand_side_by_side_with_the_floors_below() -> None:
    evaluation = make_evaluation()
    hhh = evaluation["hhh"]
    models = {**hhh["models"], "reward_model": {"accuracy": SHARE}}
    evaluation["hhh"] = {**hhh, "models": models}
    evaluation["mc1"] = {**evaluation["mc1"], "models": {"rl": {"accuracy": SHARE}}}
    table = tabulate_models(evaluation)
    rows = {row[0]: row[1:] for row in table.rows}
    assert list(rows) == ["base", "prompted", "sft", "rl", "reward model", "floor: chance"]
    assert rows["base"] == (SHOWN, SHOWN, SHOWN, "-", "-", "-", "1,100 [90, 1,200]", SHOWN)
    assert rows["rl"] == (SHOWN, SHOWN, SHOWN, SHOWN, SHOWN, SHOWN, "1,100 [90, 1,200]", SHOWN)
    assert rows["reward model"] == (SHOWN, *["-"] * 7)
    assert table.heads[:5] == (
        "model",
        "HHH, 400 pairs",
        "HHH by likelihood, 400 pairs",
        "HHH per token, 400 pairs",
        "MC1, 400 questions",
    )


def test_rewards_have_intervals() -> None:
    sft, rl = make_policies("sft-vs-base"), make_policies("rl-vs-sft")
    rl["differences"]["rl-vs-sft"]["reward"] = NO_GAIN
    # SFT's metrics are of before it was measured.
    rl["differences"]["rl-vs-sft"]["repetition"] = {"value": 0.3, "low": 0.2, "high": 0.4}
    first, second = tabulate_rewards(sft, rl).rows
    gain = "+0.10 [+0.05, +0.15]"
    assert first == ("sft against base", "40", gain, gain, SHOWN, "-")
    assert second[2] == "+0.10 [-0.05, +0.25]"
    assert second[-1] == "+30.0 points [+20.0, +40.0]"


def test_what_ended_the_answers_is_counted_once_a_policy() -> None:
    sft, rl = make_policies("sft-vs-base"), make_policies("rl-vs-sft")
    sft["policies"]["base"] = {"n": 8, "share_cut_off": 0.625, "share_ended_by_eos": 0.125}
    rl["policies"] |= {"sft": sft["policies"]["sft"]}
    rows = tabulate_endings(sft, rl).rows
    # 36 of 40 answers by the end token, 2 by the token limit; the others where a turn began.
    assert rows == (
        ("sft", "40", "36", "2", "2"),
        ("base", "8", "1", "2", "5"),
        ("rl", "40", "36", "2", "2"),
    )
    del rl["policies"]["rl"]["share_ended_by_eos"]  # an older run
    assert tabulate_endings(rl).rows == (("sft", "40", "36", "2", "2"),)


def test_edges_and_factors_have_the_reward_models_accuracy_where_any_were_held_out() -> None:
    report = make_reward_report()
    edge = "tiny-A-3shot over tiny-B-1shot"
    assert tabulate_edges(COMPARISONS, report).rows == ((edge, "200", "50%", "100", SHOWN),)
    nothing = {"n": 0, "n_prompts": 0}
    assert tabulate_edges(COMPARISONS, nothing).rows == ((edge, "200", "50%", "0", "-"),)
    assert tabulate_factors(COMPARISONS, report).rows == (
        ("shots", "200", "0", "-"),
        ("shots and demonstrations", "-", "100", SHOWN),
    )


def test_what_the_audit_could_not_test_says_why() -> None:
    tested = {**make_reward_report(), "n_trained_on": 50}
    untested = {"n": 0, "n_trained_on": 90, "note": "not tested"}
    audit = {"by_edge": {EDGE: tested}, "by_factor": {"size+shots": untested}}
    assert tabulate_audit(audit).rows == (
        ("tiny-A-3shot over tiny-B-1shot", "50", "100", SHOWN, "surface: 51.0% [45.0%, 55.0%]"),
        ("size and shots", "90", "0", "not tested", "-"),
    )


def test_a_prefix_is_dropped_from_names_and_values_alike() -> None:
    nested = {"m-a-vs-m-b": {"n": 3, "names": ["m-a", None]}}
    assert drop_prefix(nested, "m-") == {"a-vs-b": {"n": 3, "names": ["a", None]}}
    assert drop_prefix("m-a", "") == "m-a"
