"""The stages of the chain: who is compared with whom, and that their datasets are there."""

from pathlib import Path

import pytest
import yaml

from almost_kedro.evaluation.stages import (
    APART,
    BASE,
    COMPARED,
    JUDGED,
    NAMES,
    POLICIES,
    STAGES,
    TRAINED,
    Stage,
    list_judged,
)


@pytest.fixture(scope="session")
def datasets(project: Path) -> set[str]:
    files = (project / "conf/base").glob("catalog*.yml")
    return {name for file in files for name in yaml.safe_load(file.read_text("utf-8"))}


@pytest.mark.parametrize("stage", TRAINED, ids=[stage.name for stage in TRAINED])
def test_all_datasets_of_a_stage_are_in_the_catalog(stage: Stage, datasets: set[str]) -> None:
    shown = set(stage.reported) - (set() if stage.watched else {stage.watch})
    assert {stage.policy, *shown} <= datasets
    assert {stage.metrics, stage.training, stage.curve, stage.answers} <= shown
    assert set(stage.takes) <= datasets


def test_each_stage_starts_from_the_one_before() -> None:
    assert [stage.base for stage in STAGES] == [BASE, *(stage.name for stage in STAGES[:-1])]
    assert all(stage.base in stage.tested_with for stage in STAGES)


def test_what_is_beside_the_chain_starts_from_the_base_and_no_stage_from_it() -> None:
    assert all(stage.base == BASE for stage in APART)
    assert not {stage.base for stage in TRAINED} & {stage.name for stage in APART}


def test_who_is_compared_with_whom() -> None:
    assert POLICIES == ("base", "prompted", "sft", "rl")
    assert (*POLICIES, "dpo") == NAMES
    assert COMPARED == [
        ("prompted", "base"),
        ("sft", "base"),
        ("sft", "prompted"),
        ("rl", "sft"),
        ("rl", "base"),
        ("dpo", "base"),
        ("dpo", "sft"),
        ("dpo", "rl"),
    ]
    chain = [
        ("sft", "base"),
        ("rl", "sft"),
        ("rl", "base"),
        ("sft", "prompted"),
        ("rl", "prompted"),
        ("prompted", "base"),
    ]
    beside = [("dpo", "base"), ("dpo", "sft"), ("dpo", "rl"), ("dpo", "prompted")]
    assert [*chain, *beside] == JUDGED
    assert list_judged(POLICIES) == chain
    assert list_judged(["base", "dpo", "rl"]) == [("rl", "base"), ("dpo", "base"), ("dpo", "rl")]
