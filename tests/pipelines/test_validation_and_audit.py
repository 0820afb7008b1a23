"""Post-validation and rule audit through real Kedro sessions, with reward models that are trained.

The rubric is a chain of three assistants with all pairs compared, so that each rule can be learnt
from others.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from statistics import mean
from typing import Any

import pytest
from mlflow import MlflowClient
from smoke_runs import find_runs, read_latest, run_smoke

from almost_kedro.errors import UserError
from almost_kedro.options.reward_model import AsIsFilterOptions
from almost_kedro.pipelines.reward_model.post_validation import read_as_is_pairs

pytestmark = pytest.mark.slow

FAITHFUL = {"demonstrations": "Faithful", "shots": 1}
ASSISTANTS = [
    {"model": "tiny-large", **FAITHFUL},
    {"model": "tiny-small", **FAITHFUL},
    {"model": "tiny-small", "demonstrations": "HHH", "shots": 1},
    # Not in the rubric, but in a contrast.
    {"model": "tiny-small", **FAITHFUL, "off_topic": True},
]
RUBRIC = ["tiny-large-Faithful-1shot", "tiny-small-Faithful-1shot", "tiny-small-HHH-1shot"]
SHARES = {"reward_model": 0.36, "held_out": 0.28, "held_out_reward_model": 0.28}
OTHERS = dict.fromkeys(("self_play", "rl", "watch", "policy_test"), 0.02)
# So that a handful of pairs is learnt.
LEARN = {"reward_model.learning_rate": 0.003, "launch.dtype": "float32"}


def run_pipeline(
    project: Path, root: Path, name: str, *options: str, params: Mapping[str, Any] | None = None
) -> subprocess.CompletedProcess[str]:
    values = [f"{key}={value}" for key, value in {"data_root": root, **(params or {})}.items()]
    command = [sys.executable, "-m", "kedro", "run", "--env", "smoke", "--pipeline", name]
    command += [*options, "--params", ",".join(values)]
    # Datasets of the hub: none is fetched, and what is read is not kept.
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": str(root / "hub")}
    return subprocess.run(
        command, cwd=project, capture_output=True, text=True, env=env, check=False
    )


def read_document(root: Path, name: str) -> Any:
    return json.loads(sorted(root.glob(f"08_reporting/{name}.json/*/*"))[-1].read_text())


def read_margins(root: Path) -> dict[str, float]:
    """What the only program that scored wrote, in the order of the comparisons."""
    (scores,) = root.glob("06_models/work/rewards-*/rewards.jsonl")
    rewards = {row["id"]: row["reward"] for row in map(json.loads, scores.open())}
    ids = [id_.removesuffix(":chosen") for id_ in rewards if id_.endswith(":chosen")]
    return {id_: rewards[f"{id_}:chosen"] - rewards[f"{id_}:rejected"] for id_ in ids}


def list_work(root: Path) -> list[str]:
    return sorted(path.name for path in root.glob("06_models/work/*-*"))


def write_pairs(file: Path, rows: list[Any]) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def explain(done: subprocess.CompletedProcess[str]) -> str:
    """The one line that a failed run ends with."""
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()[-1]


@pytest.fixture(scope="module")
def root(
    project: Path, tiny_models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Comparisons, and pairs for the reward model that nothing was filtered out of."""
    root = tmp_path_factory.mktemp("plain")
    params = {
        "prompt_generation": {"n_prompts": 30},
        "response_generation": {"assistants": ASSISTANTS},
        "comparisons": {"rubric": RUBRIC, "length_control": "none"},
        "prompt_splits": {**SHARES, **OTHERS},
    }
    run_smoke(project, root, params)
    done = run_pipeline(project, root, "reward_model", "--to-nodes", "select_reward_pairs")
    assert done.returncode == 0, done.stderr
    return root


@pytest.fixture(scope="module")
def pairs(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user who prefers the longer answer of each comparison, whatever the rubric says."""
    rows = []
    for row in read_latest(root, "comparisons"):
        shorter, longer = sorted((row["chosen"], row["rejected"]), key=len)
        rows.append({"prompt": row["prompt"], "chosen": longer, "rejected": shorter})
    same = {"prompt": "Why?", "chosen": "Because.", "rejected": "Because."}
    return write_pairs(tmp_path_factory.mktemp("user") / "pairs.jsonl", [*rows * 2, same])


@pytest.fixture(scope="module")
def filter_params(pairs: Path) -> dict[str, Any]:
    return {"as_is_filter.enabled": "true", "as_is_filter.pairs": pairs, **LEARN}


@pytest.fixture(scope="module")
def filtered(
    project: Path,
    root: Path,
    filter_params: dict[str, Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A copy of the data root, post-validated."""
    copy = tmp_path_factory.mktemp("filtered") / "data"
    shutil.copytree(root, copy)
    done = run_pipeline(
        project, copy, "reward_model", "--to-nodes", "select_reward_pairs", params=filter_params
    )
    assert done.returncode == 0, done.stderr
    return copy


def test_without_the_filter_all_comparisons_pass_and_no_program_starts(root: Path) -> None:
    comparisons = read_latest(root, "comparisons")
    assert read_latest(root, "validated_comparisons") == comparisons
    assert read_latest(root, "reward_pairs") == comparisons
    assert read_latest(root, "as_is_pairs") == read_latest(root, "ledger_post_validation") == []
    metrics = read_document(root, "post_validation_metrics")
    assert metrics["enabled"] is False
    assert metrics["n_before"] == metrics["n_after"] == len(comparisons)


def test_what_the_as_is_reward_model_disagrees_with_is_in_the_ledger(filtered: Path) -> None:
    comparisons = read_latest(filtered, "comparisons")
    kept = [row["comparison_id"] for row in read_latest(filtered, "validated_comparisons")]
    dropped = [row["row_id"] for row in read_latest(filtered, "ledger_post_validation")]
    margins = read_margins(filtered)
    assert margins.keys() == {row["comparison_id"] for row in comparisons}
    assert kept == [id_ for id_, margin in margins.items() if margin >= 0] != []
    assert dropped == [id_ for id_, margin in margins.items() if margin < 0] != []
    for row in read_latest(filtered, "ledger_post_validation"):
        assert row["rule"] == "rule_25_post_validation"
        assert row["detail"].endswith(f"{margins[row['row_id']]:.4f}")
    assert {row["comparison_id"] for row in read_latest(filtered, "reward_pairs")} <= set(kept)


def test_it_agrees_with_the_pairs_that_it_was_trained_on(filtered: Path) -> None:
    margins = read_margins(filtered)
    longer, shorter = (
        [
            margins[row["comparison_id"]]
            for row in read_latest(filtered, "comparisons")
            if sign * (len(row["chosen"]) - len(row["rejected"])) > 50
        ]
        for sign in (1, -1)
    )
    assert mean(longer) > 0 > mean(shorter)
    metrics = read_document(filtered, "post_validation_metrics")
    assert metrics["chosen_longer_before"] < metrics["chosen_longer_after"]


def test_metrics_say_what_was_dropped_and_what_was_trained_on(filtered: Path, pairs: Path) -> None:
    metrics = read_document(filtered, "post_validation_metrics")
    dropped = len(read_latest(filtered, "ledger_post_validation"))
    assert metrics["enabled"] is True
    assert metrics["n_identical_pairs"] == 1
    assert metrics["n_pairs"] == len(pairs.read_text().splitlines()) - 1
    assert metrics["dropped_rule_25_post_validation"] == metrics["n_dropped"] == dropped
    assert metrics["n_before"] - dropped == metrics["n_after"]
    lines = [row["pair_id"] for row in read_latest(filtered, "as_is_pairs")]
    assert lines == [f"as_is_{i}" for i in range(1, metrics["n_pairs"] + 2)]


def test_the_as_is_reward_model_is_tracked(filtered: Path) -> None:
    client = MlflowClient(f"sqlite:///{filtered}/08_reporting/mlflow/mlflow.db")
    children = [
        child for run in find_runs(filtered) for child in find_runs(filtered, run.info.run_id)
    ]
    found = {child.info.run_name: child.info.run_id for child in children}
    assert "rewards (as_is_reward_model)" in found
    assert client.get_metric_history(found["as_is_reward_model"], "curve.loss")


def test_the_same_pairs_again_train_nothing(
    project: Path, filtered: Path, filter_params: dict[str, Any]
) -> None:
    before = list_work(filtered)
    kept = read_latest(filtered, "validated_comparisons")
    done = run_pipeline(
        project,
        filtered,
        "reward_model",
        "--to-nodes",
        "validate_comparisons",
        params=filter_params,
    )
    assert "as_is_reward_model: trained before" in done.stdout + done.stderr
    assert list_work(filtered) == before
    assert read_latest(filtered, "validated_comparisons") == kept


def test_bad_pairs_stop_a_whole_run_before_anything_is_generated(
    project: Path, tmp_path: Path
) -> None:
    file = write_pairs(tmp_path / "bad.jsonl", [{"prompt": "Why?", "chosen": "So."}])
    params = {"as_is_filter.enabled": "true", "as_is_filter.pairs": file}
    done = run_pipeline(project, tmp_path / "data", "__default__", params=params)
    message = explain(done)
    assert f"{file}, line 1: rejected is missing; found prompt, chosen; each row" in message
    assert "Running node: write_prompts" not in done.stdout + done.stderr


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    options = AsIsFilterOptions(enabled=True, pairs=str(tmp_path / "none.jsonl"))
    with pytest.raises(UserError, match=f"as_is_filter.pairs: there is no file {tmp_path}/none"):
        read_as_is_pairs(options)


@pytest.mark.parametrize("line", ["Why?", '["Why?"]', '{"prompt": '])
def test_a_line_that_is_no_row_is_named(tmp_path: Path, line: str) -> None:
    file = tmp_path / "pairs.jsonl"
    file.write_text(f"\n{line}\n")
    options = AsIsFilterOptions(enabled=True, pairs=str(file))
    with pytest.raises(UserError, match=rf"as_is_filter.pairs: {file}, line 2: not "):
        read_as_is_pairs(options)


def test_pairs_may_come_from_a_dataset_of_the_hub(project: Path, tmp_path: Path) -> None:
    """Its library reads folders, too."""
    (tmp_path / "hub").mkdir()
    rows = [{"prompt": f"{i}?", "chosen": "Yes.", "rejected": "No.", "votes": i} for i in range(3)]
    write_pairs(tmp_path / "hub/train.jsonl", rows)
    node = ("--to-nodes", "read_as_is_pairs")
    params = {
        "as_is_filter.enabled": "true",
        "as_is_filter.hub_dataset": tmp_path / "hub",
        "as_is_filter.max_pairs": 2,
    }
    done = run_pipeline(project, tmp_path / "data", "reward_model", *node, params=params)
    assert done.returncode == 0, done.stderr
    assert read_latest(tmp_path / "data", "as_is_pairs") == [
        {"pair_id": f"as_is_{i + 1}", "prompt": f"{i}?", "chosen": "Yes.", "rejected": "No."}
        for i in range(2)
    ]
    params["as_is_filter.hub_dataset"] = "nobody/nothing"
    message = explain(run_pipeline(project, tmp_path / "data", "reward_model", params=params))
    assert "as_is_filter.hub_dataset: split train of nobody/nothing can't be loaded" in message


@pytest.fixture(scope="module")
def audited(project: Path, root: Path) -> subprocess.CompletedProcess[str]:
    done = run_pipeline(project, root, "rule_audit")
    assert done.returncode == 0, done.stderr
    return done


def test_each_rule_is_asked_of_a_reward_model_that_never_saw_it(
    root: Path, audited: subprocess.CompletedProcess[str]
) -> None:
    report = read_document(root, "rule_audit_metrics")
    splits = {row["prompt_id"]: row["split"] for row in read_latest(root, "prompt_splits")}
    rows = read_latest(root, "reward_pairs")
    unseen = ("held_out", "held_out_reward_model")
    assert len(report["by_edge"]) == len(report["by_factor"]) == 3
    for name, found in report["by_edge"].items():
        own = [
            row
            for row in rows
            if f"{row['chosen_assistant']}-vs-{row['rejected_assistant']}" == name
        ]
        others = [row for row in rows if row not in own]
        assert found["n"] == sum(splits[row["prompt_id"]] in unseen for row in own)
        assert found["n_trained_on"] == sum(
            splits[row["prompt_id"]] == "reward_model" for row in others
        )
        if "note" not in found:
            assert set(found["floors"]) == {"longer_wins", "shorter_wins", "surface"}
            assert 0 <= found["accuracy"]["low"] <= found["accuracy"]["value"] <= 1
    assert sum("accuracy" in found for found in report["by_edge"].values()) >= 2


def test_an_edge_and_its_factors_share_a_reward_model(
    root: Path, audited: subprocess.CompletedProcess[str]
) -> None:
    report = read_document(root, "rule_audit_metrics")
    edges = [name for name, found in report["by_edge"].items() if "accuracy" in found]
    work = [name.rsplit("-", 1)[0] for name in list_work(root) if name.startswith("without_")]
    assert work == sorted(f"without_{name}" for name in edges)
    factors = report["by_factor"].values()
    assert [found for found in factors if "accuracy" in found]
    for found in factors:
        assert found in report["by_edge"].values()


def test_the_audit_prints_a_table_and_draws_a_chart(
    root: Path, audited: subprocess.CompletedProcess[str]
) -> None:
    output = audited.stdout + audited.stderr
    assert "rule audit: agreement of a reward model that was trained without the rule" in output
    chart = read_document(root, "rule_audit")
    agreement, floors = chart["data"]
    assert agreement["y"] == floors["y"] != []


def test_the_audit_adds_no_reward_model_to_the_project(
    root: Path, audited: subprocess.CompletedProcess[str]
) -> None:
    assert [path.name for path in root.glob("06_models/*")] == ["work"]


def test_each_contrast_has_a_reward_model_beside_the_floors_and_on_hhh(
    project: Path, root: Path
) -> None:
    params = {"comparisons.length_control": "none"}
    done = run_pipeline(
        project, root, "contrasts", "--from-nodes", "check_contrasts", params=params
    )
    assert done.returncode == 0, done.stderr
    document = read_document(root, "contrasts_metrics")
    report = document["contrasts"]
    assert set(report) == {"size", "topic"}
    pairs = json.loads(
        sorted(root.glob("05_model_input/contrast_comparisons.json/*/*"))[-1].read_text()
    )
    splits = {row["prompt_id"]: row["split"] for row in read_latest(root, "prompt_splits")}
    for name, found in report.items():
        tested = [row for row in pairs[name] if splits[row["prompt_id"]] == "held_out"]
        assert found["n"] == len(tested)
        if "note" not in found:
            assert found["hhh"]["n"] == 8
            assert set(found["floors"]) == {"longer_wins", "shorter_wins", "surface"}
    assert "accuracy" in report["topic"]
    assert len(document["averages"]) == ("accuracy" in report["size"])
    # Every text is on both sides, so nothing but the prompt tells which is right.
    assert sorted(row["chosen"] for row in pairs["topic"]) == sorted(
        row["rejected"] for row in pairs["topic"]
    )
    assert "contrasts: what a reward model learns from each alone" in done.stdout + done.stderr


def test_without_contrasts_a_run_stops_before_anything_is_generated(
    project: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "kedro", "run", "--pipeline", "contrasts"]
    command += ["--params", f"data_root={tmp_path}"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert explain(done).startswith("Error: option contrasts: there are none; ")
    assert "Running node: write_prompts" not in done.stdout + done.stderr
