"""The pipeline through a real KedroSession, on two tiny models of different size."""

import json
from pathlib import Path
from typing import Any

import pytest
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project


def run_smoke(project: Path, root: Path, **params: Any) -> None:
    bootstrap_project(project)
    runtime = {"data_root": str(root), **params}
    with KedroSession.create(project, env="smoke", runtime_params=runtime) as session:
        session.run(pipeline_names=["synthetic_feedback"])


def read_latest(root: Path, dataset: str) -> list[dict[str, Any]]:
    file = sorted(root.glob(f"*/{dataset}.jsonl/*/{dataset}.jsonl"))[-1]
    return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.fixture(scope="module")
def root(
    project: Path, tiny_models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    root = tmp_path_factory.mktemp("smoke")
    run_smoke(project, root)
    return root


def test_every_pair_of_usable_answers_is_a_comparison_or_in_the_ledger(root: Path) -> None:
    responses = read_latest(root, "responses")
    usable = [row for row in responses if row["verdict"] == "ok"]
    rank = {"tiny-large-Faithful-1shot": 0, "tiny-small-Faithful-1shot": 1}
    pairs = sum(
        rank.get(a["assistant"], 2) < rank.get(b["assistant"], 2)
        for a in usable
        for b in usable
        if a["prompt_id"] == b["prompt_id"]
    )
    comparisons = read_latest(root, "comparisons")
    dropped = [
        row
        for row in read_latest(root, "ledger_comparisons")
        if row["rule"] in ("matched_length", "matched_balance")
    ]
    assert comparisons
    assert len(comparisons) + len(dropped) == pairs
