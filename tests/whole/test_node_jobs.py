"""Nodes ask for what earlier commits kept: options that came since change nothing by themselves."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from node_jobs import NODES, VERSIONS, list_jobs, read_parameters

DATA = Path(__file__).parents[1] / "data"
# The commit before checkpoints had chat templates, and the one with which DPO came.
COMMITS = ("3636a5f", "edbf540")


@pytest.fixture(autouse=True)
def versions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of these commits (see `test_kept_work.TAKEN`)."""
    monkeypatch.setattr("almost_kedro.training.job.TRAINING_VERSIONS", VERSIONS)


def read_kept(commit: str) -> dict[str, Any]:
    kept: dict[str, Any] = json.loads((DATA / f"jobs_{commit}.json").read_text())
    return kept


@pytest.mark.parametrize("commit", COMMITS)
def test_with_a_commits_parameters_its_kept_work_is_asked_for(
    commit: str, project: Path, tmp_path: Path
) -> None:
    kept = read_kept(commit)
    # Blocks that it did not have are as they are now; new options in the others at their defaults.
    parameters = {**read_parameters(project), **kept["parameters"]}
    asked = list_jobs(parameters, tmp_path, project)
    # What a benchmark that came since asks is new, and nothing is made anew for it.
    anew = {node: set(names) - set(asked[node]) for node, names in kept["jobs"].items()}
    assert anew == {node: set() for node in kept["jobs"]}
    assert all(kept["jobs"].values())


def test_the_kept_work_is_of_every_program() -> None:
    before, later = (read_kept(commit)["jobs"] for commit in COMMITS)
    assert set(NODES) == set(later)
    assert set(later) - set(before) == {"train_dpo_policy"}
    names = [name for jobs in later.values() for name in jobs]
    assert {name.replace(" ", "-").split("-")[0] for name in names} == {
        "request",
        "reward_model",
        "held_out_reward_model",
        "sft_policy",
        "rl_policy",
        "dpo_policy",
        "rewards",
        "logprobs",
    }


@pytest.mark.parametrize(
    ("block", "option", "value", "nodes"),
    [
        ("sft", "learning_rate", 7e-5, {"train_sft_policy"}),
        ("dpo", "beta", 0.3, {"train_dpo_policy"}),
        ("policy_test", "top_p", 0.8, {"test_sft_policy", "test_rl_policy"}),
    ],
)
def test_another_value_asks_for_other_work_where_it_counts_and_nowhere_else(
    block: str, option: str, value: float, nodes: set[str], project: Path, tmp_path: Path
) -> None:
    kept = read_kept("edbf540")
    parameters = copy.deepcopy({**read_parameters(project), **kept["parameters"]})
    parameters[block][option] = value
    asked = list_jobs(parameters, tmp_path, project)
    changed = {node for node, names in kept["jobs"].items() if not set(names) <= set(asked[node])}
    assert changed == nodes
