"""The stages of the chain: who is compared with whom, and that their datasets are there."""

from pathlib import Path

import pytest
import yaml

from almost_kedro.evaluation.stages import BASE, COMPARED, JUDGED, POLICIES, STAGES, Stage


@pytest.fixture(scope="session")
def datasets(project: Path) -> set[str]:
    files = (project / "conf/base").glob("catalog*.yml")
    return {name for file in files for name in yaml.safe_load(file.read_text("utf-8"))}


@pytest.mark.parametrize("stage", STAGES, ids=[stage.name for stage in STAGES])
def test_all_datasets_of_a_stage_are_in_the_catalog(stage: Stage, datasets: set[str]) -> None:
    assert {stage.policy, stage.metrics, stage.training, stage.curve, stage.answers} <= datasets


def test_each_stage_starts_from_the_one_before() -> None:
    assert [stage.base for stage in STAGES] == [BASE, *(stage.name for stage in STAGES[:-1])]
    assert all(stage.base in stage.tested_with for stage in STAGES)


def test_who_is_compared_with_whom() -> None:
    assert POLICIES == ("base", "prompted", "sft", "rl")
    assert COMPARED == [
        ("prompted", "base"),
        ("sft", "base"),
        ("sft", "prompted"),
        ("rl", "sft"),
        ("rl", "base"),
    ]
    assert JUDGED == [
        ("sft", "base"),
        ("rl", "sft"),
        ("rl", "base"),
        ("sft", "prompted"),
        ("rl", "prompted"),
        ("prompted", "base"),
    ]
