"""From comparisons to an RL policy through real Kedro sessions."""

import json
import math
import os
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from sessions import ALIGNMENT, find_versions, kedro, read_document, run_pipeline
from smoke_runs import find_runs, read_latest

CHECKPOINTS = ("reward_model", "held_out_reward_model", "sft_policy", "rl_policy")


@pytest.fixture(scope="module")
def root(aligned: Path) -> Path:
    return aligned


@pytest.mark.slow
def test_all_that_passes_between_pipelines_is_in_the_catalog(
    root: Path, project: Path, tmp_path: Path
) -> None:
    """Each in a process of its own, they make what they made in one."""
    for name in ALIGNMENT:
        done = run_pipeline(project, tmp_path, name)
        assert done.returncode == 0, done.stdout + done.stderr
    for name in ("comparisons", "self_play", "sft_answers", "rl_answers"):
        assert read_latest(tmp_path, name) == read_latest(root, name)


def test_each_checkpoint_says_what_it_came_from(root: Path) -> None:
    parents = {
        "reward_model": {"reward_pairs", "prompt_splits"},
        "held_out_reward_model": {"reward_pairs", "prompt_splits"},
        "sft_policy": {"sft_demonstrations", "prompt_splits"},
        "rl_policy": {"sft_policy", "reward_model", "held_out_reward_model", "prompts"},
    }
    for name in CHECKPOINTS:
        (folder,) = find_versions(root, name)
        manifest = json.loads((folder / "manifest.json").read_text())
        assert parents[name] <= manifest["parents"].keys()
        assert manifest["git_commit"] != "unknown"
        assert manifest["options"]["learning_rate"] > 0
        assert manifest["metrics"]["steps"] > 0
        assert not [file for file in folder.iterdir() if file.suffix in (".bin", ".pt", ".pth")]


def test_seeds_differ_in_nothing_but_their_reward_models(root: Path) -> None:
    seeds = read_document(root, "reward_model_seeds_metrics")
    first = read_document(root, "reward_model_metrics")["accuracy"]["value"]
    assert seeds["n_seeds"] == len(seeds["accuracies"]) == 2
    assert seeds["accuracies"][0] == first
    jobs = [
        json.loads(next(root.glob(f"06_models/work/{name}-*/job.json")).read_text())
        for name in ("reward_model", "reward_model_seed_1")
    ]
    differ = {key for key in jobs[0] if jobs[0][key] != jobs[1][key]}
    assert differ == {"name", "out", "seed"}


def test_no_prompt_is_used_for_two_things(root: Path) -> None:
    splits = {row["prompt_id"]: row["split"] for row in read_latest(root, "prompt_splits")}
    used = {
        "self_play": {row["prompt_id"] for row in read_latest(root, "self_play")},
        "rl": {row["prompt_id"] for row in read_latest(root, "rollouts")},
        "policy_test": {row["prompt_id"] for row in read_latest(root, "rl_answers")},
        "held_out": {row["prompt_id"] for row in read_latest(root, "held_out_scores")},
    }
    for split, prompts in used.items():
        assert {splits[prompt] for prompt in prompts} == {split}


def test_every_turn_keeps_its_best_usable_candidate(root: Path) -> None:
    rows = read_latest(root, "self_play")
    assert any(row["kept"] for row in rows)
    for row in rows:
        if row["kept"]:
            rivals = [r["reward"] for r in rows if r["reward"] is not None and same_turn(r, row)]
            assert row["reward"] == max(rivals)
            assert row["held_out_reward"] is not None


def same_turn(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return (a["prompt_id"], a["turn"]) == (b["prompt_id"], b["turn"])


def test_what_playing_and_testing_took_is_told(root: Path) -> None:
    costs = read_document(root, "self_play_costs_metrics")
    assert {"turn 1, answers", "turn 1, rewards", "held-out rewards"} <= costs.keys()
    for name, policies in (("sft_policy", {"base", "prompted", "sft"}), ("rl_policy", {"rl"})):
        found = read_document(root, f"{name}_metrics")["cost"]
        assert {"rewards", "held_out_rewards"} <= found.keys()
        assert policies <= {policy for names in found for policy in names.split("+")}
        costs |= found
    assert all(cost["peak_memory_mb"] > 0 for cost in costs.values())


def test_demonstrations_are_the_kept_candidates(root: Path) -> None:
    kept = {row["candidate_id"]: row for row in read_latest(root, "self_play") if row["kept"]}
    demonstrations = read_latest(root, "sft_demonstrations")
    assert {row["candidate_id"] for row in demonstrations} == kept.keys()
    for row in demonstrations:
        candidate = kept[row["candidate_id"]]
        assert row["answer"] == candidate["text"]
        assert row["dialogue"].endswith(f"\n\nHuman: {candidate['question']}\n\nAssistant:")


def test_every_figure_after_a_closed_gate_says_so(root: Path) -> None:
    gate = read_document(root, "gate")
    assert gate["passed"] is False
    for name in ("self_play", "sft_policy", "rl_policy_training", "rl_policy"):
        metrics = read_document(root, f"{name}_metrics")
        assert metrics["gate_passed"] is False
        assert metrics["gate_reasons"] == gate["reasons"]


def test_every_curve_is_in_mlflow(root: Path) -> None:
    client = MlflowClient(f"sqlite:///{root}/08_reporting/mlflow/mlflow.db")
    found = {}
    for run in find_runs(root):
        for child in find_runs(root, run.info.run_id):
            history = client.get_metric_history(child.info.run_id, "curve.loss")
            found[child.info.run_name] = [point.step for point in history]
            if history:
                assert all(math.isfinite(point.value) for point in history)
                assert child.data.metrics["peak_memory_mb"] > 100
    for name in CHECKPOINTS:
        assert found[name] == list(range(1, len(found[name]) + 1)) != []


def test_rows_are_traced_to_the_seeds(project: Path, root: Path) -> None:
    for name, key, writer in (
        ("rollouts", "rollout_id", "sft_policy in training, fingerprint"),
        ("sft_demonstrations", "demonstration_id", "tiny-large, fingerprint"),
        ("rl_answers", "answer_id", "rl, fingerprint"),
    ):
        id_ = read_latest(root, name)[-1][key]
        options = ("--env", "smoke", "--params", f"data_root={root}")
        done = kedro(project, "trace", id_, *options)
        assert done.returncode == 0, done.stderr
        for found in (name, "seed_prompts", writer):
            assert found in done.stdout


def test_an_unchanged_run_trains_nothing_and_adds_no_weights(project: Path, root: Path) -> None:
    def list_inodes() -> set[int]:
        return {os.stat(file).st_ino for file in root.glob("06_models/**/*.safetensors")}

    before = list_inodes()
    done = run_pipeline(project, root, "reward_model")
    assert done.returncode == 0, done.stderr
    # The reward model, the held-out one, and the reward model with another seed.
    assert (done.stdout + done.stderr).count("trained before") == 3
    assert len(find_versions(root, "reward_model")) == 2
    assert list_inodes() == before


@pytest.mark.slow
def test_parents_of_other_prompts_are_refused(project: Path, root: Path) -> None:
    """New splits, old reward model."""
    latest = sorted(root.glob("03_primary/prompt_splits.jsonl/*/*"))[-1]
    rows = [json.loads(line) for line in latest.read_text().splitlines()]
    turned = {"self_play": "rl", "rl": "self_play"}
    rows = [{**row, "split": turned.get(row["split"], row["split"])} for row in rows]
    other = latest.parents[1] / "9999-01-01T00.00.00.000Z" / latest.name
    other.parent.mkdir()
    other.write_text("".join(json.dumps(row) + "\n" for row in rows))
    try:
        done = run_pipeline(project, root, "rmsp_sft")
    finally:
        other.unlink()
        other.parent.rmdir()
    assert done.returncode != 0
    assert "reward_model was trained on another version of prompt_splits" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_closed_gate_stops_before_any_training(project: Path, root: Path) -> None:
    done = run_pipeline(project, root, "rl", "gate.on_failure=stop")
    assert done.returncode != 0
    assert "gate not passed: " in done.stderr
    assert "Running node: train_rl_policy" not in done.stdout + done.stderr


def test_another_base_model_is_refused(project: Path, root: Path) -> None:
    done = run_pipeline(project, root, "rl", "sft.model=tiny-small")
    assert done.returncode != 0
    assert "sft_policy was trained from tiny-large" in done.stderr


@pytest.mark.slow
def test_no_comparisons_are_one_clear_line(project: Path, root: Path) -> None:
    latest = sorted(root.glob("05_model_input/comparisons.jsonl/*/*"))[-1]
    other = latest.parents[1] / "9999-01-01T00.00.00.000Z" / latest.name
    other.parent.mkdir()
    try:
        for text, message in (
            ("", "comparisons of split reward_model: there are none; ask for more prompts"),
            (
                change_first(latest, {"chosen": " "}),
                "has no chosen answer; mend the row",
            ),
        ):
            other.write_text(text)
            done = run_pipeline(project, root, "reward_model")
            assert done.returncode != 0
            assert message in done.stderr
            assert "Traceback" not in done.stderr
    finally:
        other.unlink()
        other.parent.rmdir()


def change_first(file: Path, change: dict[str, Any]) -> str:
    first, *others = [json.loads(line) for line in file.read_text().splitlines()]
    return "".join(json.dumps(row) + "\n" for row in ({**first, **change}, *others))


@pytest.mark.slow
def test_a_half_copied_checkpoint_is_refused(project: Path, root: Path) -> None:
    folder = find_versions(root, "reward_model")[-1]
    weights = folder / "model.safetensors"
    weights.rename(folder / "elsewhere")
    try:
        done = run_pipeline(project, root, "rmsp_sft")
    finally:
        (folder / "elsewhere").rename(weights)
    assert done.returncode != 0
    assert "incomplete checkpoint" in done.stderr
    assert "no model.safetensors" in done.stderr
