"""The pipeline `dpo` after a whole run, and an evaluation that takes its policy."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from kedro.framework.project import pipelines
from kedro.framework.startup import bootstrap_project
from kedro.io import DataCatalog
from sessions import find_versions, kedro, read_document, run_pipeline
from smoke_runs import read_latest

from almost_kedro.cli.project import load_context
from almost_kedro.commands.plan.assumptions import Assumptions
from almost_kedro.commands.plan.planner import Planner
from almost_kedro.costs.actual import list_costs
from almost_kedro.options.all import check_options

LN2 = math.log(2)


def test_a_whole_run_neither_trains_it_nor_needs_it(project: Path) -> None:
    bootstrap_project(project)
    made = pipelines["dpo"].all_outputs()
    assert "dpo_policy" in made
    assert not made & pipelines["__default__"].all_outputs()
    # Taken where they are there: `datasets/optional.py`.
    assert "dpo_policy" in pipelines["evaluation"].inputs()


@pytest.fixture(scope="module")
def root(project: Path, evaluated: Path) -> Path:
    for name in ("dpo", "evaluation"):
        done = run_pipeline(project, evaluated, name)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "is left out" not in done.stdout + done.stderr
    return evaluated


def read_manifest(root: Path, name: str) -> Any:
    return json.loads((find_versions(root, name)[-1] / "manifest.json").read_text())


@pytest.mark.slow
def test_it_is_trained_from_the_base_on_the_reward_models_own_comparisons(root: Path) -> None:
    dpo, reward_model = (read_manifest(root, name) for name in ("dpo_policy", "reward_model"))
    assert dpo["data"] == reward_model["data"]
    assert dpo["base"] == read_manifest(root, "sft_policy")["base"]
    assert dpo["options"]["beta"] == 0.1
    [folder] = root.glob("06_models/work/dpo_policy-????????????")
    first = json.loads((folder / "curve.jsonl").read_text().splitlines()[0])
    assert first["loss"] == pytest.approx(LN2, abs=1e-3)
    assert first["rewards/margins"] == pytest.approx(0, abs=1e-3)


@pytest.mark.slow
def test_it_is_tested_beside_base_assistant_and_best_of_n(root: Path) -> None:
    rows = {(row["policy"], row["prompt_id"]): row for row in read_latest(root, "dpo_answers")}
    assert {policy for policy, _ in rows} == {"base", "prompted", "dpo", "best_of_n"}
    for policy, prompt in rows:
        if policy == "prompted":  # its answer is the first of those that are chosen from
            assert rows["best_of_n", prompt]["reward"] >= rows[policy, prompt]["reward"]
    metrics = read_document(root, "dpo_policy_metrics")
    pairs = {"dpo-vs-base", "dpo-vs-prompted", "best_of_n-vs-base", "dpo-vs-best_of_n"}
    assert metrics["differences"].keys() == pairs
    assert metrics["best_of"] == 3


@pytest.mark.slow
def test_every_program_is_planned_under_its_name_in_the_report(project: Path, root: Path) -> None:
    names = ("dpo_policy_training_metrics", "dpo_policy_metrics")
    actual = list_costs({name: read_document(root, name) for name in names})
    bootstrap_project(project)
    context = load_context(project, "smoke", {"data_root": str(root)})
    assert isinstance(context.catalog, DataCatalog)
    planner = Planner(check_options(context.config_loader["parameters"]), context.catalog)
    planned = planner.count(Assumptions(), "dpo")
    asked = {(cost.step, cost.program): cost.asked for cost in actual}
    assert {(work.step, work.program) for work in planned} == asked.keys()
    tests = [work for work in planned if work.step == "dpo_policy"]
    assert {w.program: w.requests for w in tests} == {
        program: n for (step, program), n in asked.items() if step == "dpo_policy"
    }
    assert not [work for work in planner.count(Assumptions()) if work.step.startswith("dpo")]


@pytest.mark.slow
def test_the_next_evaluation_takes_it_as_a_further_policy(root: Path) -> None:
    evaluation = read_document(root, "evaluation_metrics")
    fingerprint = read_manifest(root, "dpo_policy")["fingerprint"]
    assert evaluation["models"]["dpo"]["fingerprint"] == fingerprint
    for name in ("hhh", "mc1"):
        assert {"dpo-vs-base", "dpo-vs-sft", "dpo-vs-rl"} <= evaluation[name]["differences"].keys()
    cards = evaluation["questions"]["cards"]
    assert {"dpo-vs-base", "dpo-vs-prompted", "dpo-vs-rl"} <= cards.keys()
    before, after = sorted(root.glob("08_reporting/report.html/*/report.html"))[-2:]
    assert "or is DPO enough?" in after.read_text()
    assert 'data-chart="dpo_watch_plot"' in after.read_text()
    card = sorted(root.glob("08_reporting/model_card.md/*/model_card.md"))[-1].read_text()
    assert "Beside this chain, `dpo` was trained from tiny-large" in card
    # The run before did not know of it.
    assert "or is DPO enough?" not in before.read_text()
    assert "dpo-vs" not in before.read_text()


@pytest.mark.slow
def test_every_command_that_uses_policies_knows_it(
    project: Path, root: Path, tmp_path: Path
) -> None:
    params = ("--env", "smoke", "--params", f"data_root={root}")
    answer = next(row for row in read_latest(root, "dpo_answers") if row["policy"] == "dpo")
    questions = tmp_path / "questions.txt"
    questions.write_text("Why?\n")
    page = tmp_path / "vote.html"
    for command, said in (
        (("chat", "dpo", "--ask", str(questions)), '"policy": "dpo"'),
        (("trace", answer["answer_id"]), read_manifest(root, "dpo_policy")["fingerprint"][:12]),
        (("compare", "latest~1", "latest"), "dpo: held-out reward"),
        (("vote", "dpo", "sft", "--to", str(page)), str(page)),
        (
            ("publish", "dpo", "--repo", "me/mine", "--license", "other", "--dry-run"),
            "model.safetensors",
        ),
        (("serve", "dpo", "--print"), "dpo_policy"),
    ):
        done = kedro(project, *command, *params)
        assert done.returncode == 0, done.stdout + done.stderr
        assert said in done.stdout + done.stderr, command
    report = sorted(root.glob("08_reporting/report.html/*/report.html"))[-1].read_text()
    assert "dpo, implicit reward" in report
    explorer = sorted(root.glob("08_reporting/explorer.html/*/explorer.html"))[-1].read_text()
    assert '"dpo":[' in explorer.replace(" ", "")
