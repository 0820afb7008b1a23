"""What each step cost."""

from almost_kedro.costs.actual import list_costs
from almost_kedro.pages.report.costs import describe_cache, tabulate_costs

GENERATED = {
    "requests_generated": 6,
    "requests_from_cache": 4,
    "tokens_generated": 50,
    "load_seconds": 1.0,
    "seconds": 3.0,
    "peak_memory_mb": 300.4,
}
LIKELIHOODS = {"rows": 9, "rows_computed": 7, "tokens": 8, "seconds": 2.0, "peak_memory_mb": 10.0}
TRAINED = {
    "tokens": 900,
    "load_seconds": 1.0,
    "train_seconds": 9.0,
    "peak_memory_mb": 5000.0,
    "peak_gpu_memory_mb": 7000.0,
}
METRICS = {
    "responses_metrics": {"n": 1, "worker": {"model-a": GENERATED}},
    "policy_verdicts_metrics": {"rl": {"cost": LIKELIHOODS, "hhh": {"all": {"n": 3}}}},
    "rl_policy_training_metrics": {**TRAINED, "models": {}},
    "gate": {"passed": True},
}


def test_programs_are_found_wherever_they_stand() -> None:
    costs = list_costs(METRICS)
    assert [(cost.step, cost.program) for cost in costs] == [
        ("responses", "model-a"),
        ("policy_verdicts", "rl"),
        ("rl_policy_training", ""),
    ]
    assert [(cost.asked, cost.cached) for cost in costs] == [(10, 4), (9, 2), (None, None)]
    # A training has loading apart; the others include it.
    assert [cost.seconds for cost in costs] == [3.0, 2.0, 10.0]


def test_costs_are_summed() -> None:
    rows = tabulate_costs(list_costs(METRICS)).rows
    assert rows[0] == ("responses (model-a)", "10", "4", "50", "3.0", "300", "-")
    assert rows[2] == ("rl policy training", "-", "-", "900", "10.0", "5,000", "7,000")
    assert rows[-1] == ("all", "-", "-", "958", "15.0", "at most 5,000", "-")


def test_what_came_from_the_cache_is_said() -> None:
    assert describe_cache(list_costs(METRICS)).startswith("6 of 19 requests and rows")
    assert describe_cache([]) == "Nothing came from the cache."
    assert tabulate_costs([]).rows == (("all", "-", "-", "0", "0.0", "at most 0", "-"),)
