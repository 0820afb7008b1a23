"""The plan beside what a run took: in the report and as metrics."""

from typing import Any

import pytest
from report_findings import make_findings, make_run

from almost_kedro.commands.plan.show import list_warnings, write_step, write_sum
from almost_kedro.costs.actual import list_costs, nest_actual
from almost_kedro.costs.planned import (
    Plan,
    PlannedStep,
    digest_options,
    fits,
    list_planned,
    nest_planned,
)
from almost_kedro.pages.report import make_report
from almost_kedro.pages.report.costs import find_plan, tabulate_plan

WORKER = {"requests_generated": 6, "requests_from_cache": 4, "tokens_generated": 50}
WORKER |= {"seconds": 2.0, "peak_memory_mb": 300.0}
METRICS = {
    "responses_metrics": {"worker": {"model-a": WORKER}},
    "gate": {"passed": True},
    "sft_policy_training_metrics": {
        "tokens": 900,
        "load_seconds": 1.0,
        "train_seconds": 9.0,
        "peak_memory_mb": 5000.0,
        "peak_gpu_memory_mb": 7000.0,
    },
}


def make_step(step: str, program: str, **values: Any) -> PlannedStep:
    zero = ("prompt_tokens", "prefix_tokens", "new_tokens", "forward_tokens", "training_tokens")
    made: Any = {
        **dict.fromkeys(zero, 0),
        "pipeline": "rmsp_sft",
        "step": step,
        "program": program,
        "model": "m",
        "kind": "generate",
        "requests": 12,
        "tokens": 60,
        "seconds": 3.0,
        "memory_mb": 400,
        **values,
    }
    step_: PlannedStep = made
    return step_


def make_plan(options: dict[str, Any], *more: PlannedStep) -> Plan:
    steps = [
        make_step("responses", "model-a"),
        make_step("sft_policy_training", "", requests=None, tokens=1000, seconds=12.0),
        make_step("reward_model_seeds", "seed 1, training", seconds=None, memory_mb=None),
        *more,
    ]
    return Plan(
        options=digest_options(options),
        machine="a <b>machine</b>",
        machine_mb=8000,
        processes=3,
        start_seconds=10.0,
        steps=steps,
        assumptions={},
        notes=[],
    )


def test_options_that_cost_nothing_leave_a_plan_valid() -> None:
    plan = make_plan({"seed": 1, "data_root": "a", "mlflow_uri": None})
    assert fits(plan, {"seed": 1, "data_root": "b", "mlflow_uri": "sqlite://"})
    assert not fits(plan, {"seed": 2, "data_root": "a", "mlflow_uri": None})
    assert not fits(None, {"seed": 1})


def test_planned_and_actual_stand_side_by_side() -> None:
    table = tabulate_plan(list_costs(METRICS), make_plan({}))
    assert table.heads[:5] == (
        "step",
        "requests or rows, planned",
        "requests or rows, actual",
        "tokens, planned",
        "tokens, actual",
    )
    assert table.rows == (
        ("responses (model-a)", "12", "10", "60", "50", "3", "2", "400", "300"),
        ("sft policy training", "-", "-", "1,000", "900", "12", "10", "400", "7,000"),
        ("reward model seeds (seed 1, training)", "12", "-", "60", "-", "-", "-", "-", "-"),
        ("all that have both", "-", "-", "1,060", "950", "15", "12", "400", "7,000"),
    )


def test_without_a_plan_nothing_is_shown() -> None:
    assert find_plan(None, {}) == (None, "")
    assert "kedro plan" not in make_report(make_findings())


def test_the_report_shows_a_plan_for_its_own_options_only() -> None:
    run = make_run()
    page = make_report(make_findings(run=run, plan=make_plan(run["options"])))
    assert "Planned against actual" in page
    assert "for a &lt;b&gt;machine&lt;/b&gt;." in page
    page = make_report(make_findings(run=run, plan=make_plan({"seed": 7})))
    assert "Planned against actual" not in page
    assert "is for other options, so it is not shown" in page


def test_metrics_have_the_same_names_planned_and_actual() -> None:
    plan = make_plan({})
    assert nest_planned(plan, {"responses_metrics", "prompts"}) == {
        "responses": {"model-a": {"requests": 12, "tokens": 60, "seconds": 3.0, "memory_mb": 400}}
    }
    assert nest_actual(plan, "responses_metrics", METRICS["responses_metrics"]) == {
        "responses": {"model-a": {"requests": 10, "tokens": 50, "seconds": 2.0, "memory_mb": 300.0}}
    }
    assert nest_actual(plan, "prompts", [{"text": "x"}]) == {}
    assert len(list_planned(plan)) == 3


def test_the_sum_says_what_it_lacks() -> None:
    plan = make_plan({})
    assert write_sum(plan)[-2:] == ["at least 25 (0 min)", "400"]
    assert write_step(plan["steps"][1])[:3] == ["sft policy training", "m", "-"]


@pytest.mark.parametrize(
    ("kind", "says"),
    [("generate", "tensor_parallel"), ("rl", "gradient_checkpointing"), ("score", "smaller")],
)
def test_too_little_memory_is_a_line_with_a_remedy(kind: str, says: str) -> None:
    plan = make_plan({}, make_step("rl_policy", "rl", kind=kind, memory_mb=9000))
    [line] = list_warnings(plan)
    assert line.startswith("warning: rl_policy rl needs about 9,000 MB, and there are 8,000: ")
    assert says in line
