"""Tables of preference sets: judges side by side, the floors beside them."""

from report_findings import EVEN, SHARE, make_preferences

from almost_kedro.evaluation.stages import TRAINED
from almost_kedro.pages.report.preferences import tabulate_preferences

SHOWN, HALF = "60.0% [55.0%, 65.0%]", "50.0% [45.0%, 55.0%]"


def test_all_items_come_first_then_each_subset() -> None:
    [table] = tabulate_preferences({"reward-bench": make_preferences()})
    assert table.caption == "reward-bench: 400 items of 390 prompts (x.json)"
    assert table.heads == (
        "subset",
        "items",
        "reward model",
        "sft, implicit reward",
        "floor: longer wins",
    )
    assert table.rows == [
        ("all", "400", SHOWN, HALF, HALF),
        ("helpful", "150", SHOWN, SHOWN, SHOWN),
        ("honest", "250", HALF, HALF, HALF),
    ]


def test_edges_are_written_without_the_model_that_all_share() -> None:
    each = {"n": 3, "accuracy": SHARE}
    edges = {"tiny-A-3shot-vs-tiny-B-1shot": each, "tiny-B-1shot-vs-tiny-C-1shot": each}
    judge = {"n": 6, "accuracy": EVEN, "by_category": edges}
    report = make_preferences(models={"sft": judge}, floors={"chance": judge})
    del report["source"]
    [table] = tabulate_preferences({"held_out": report}, "tiny")
    assert [row[0] for row in table.rows] == ["all", "A-3shot over B-1shot", "B-1shot over C-1shot"]
    assert "(the run's own comparisons of held-out prompts)" in table.caption


def test_a_set_of_one_subset_is_one_row() -> None:
    judge = {"n": 6, "accuracy": SHARE, "by_category": {"easy": {"n": 6, "accuracy": SHARE}}}
    [table] = tabulate_preferences({"x": make_preferences(models={"sft": judge}, floors={})})
    assert table.rows == [("all", "6", SHOWN)]


def test_every_policy_is_said_to_judge_by_implicit_reward() -> None:
    judge = {"n": 6, "accuracy": SHARE, "by_category": {}}
    policies = dict.fromkeys((stage.name for stage in TRAINED), judge)
    [table] = tabulate_preferences({"x": make_preferences(models=policies, floors={})})
    assert table.heads[2:] == (
        "sft, implicit reward",
        "rl, implicit reward",
        "dpo, implicit reward",
    )


def test_a_subset_may_be_called_all() -> None:
    parts = {"all": {"n": 2, "accuracy": SHARE}, "hard": {"n": 4, "accuracy": EVEN}}
    judge = {"n": 6, "accuracy": EVEN, "by_category": parts}
    [table] = tabulate_preferences({"x": make_preferences(models={"sft": judge}, floors={})})
    assert table.rows == [("all", "6", HALF), ("all", "2", SHOWN), ("hard", "4", HALF)]
