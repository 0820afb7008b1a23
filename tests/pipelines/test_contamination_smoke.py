"""What repeats a benchmark item is listed and, by option, dropped, through real Kedro sessions."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from sessions import read_document
from smoke_runs import find_files, read_latest, run_smoke

from almost_kedro.errors import UserError
from almost_kedro.feedback.responses import read_demonstrations

REPEATED = ("reward_model", "rl", "self_play")
COUNT = ["read_benchmarks", "check_contamination", "check_self_play", "count_contamination"]
SELECT = ["read_benchmarks", "check_self_play", "select_demonstrations"]


@pytest.fixture(scope="module")
def root(aligned: Path) -> Path:
    return aligned


@pytest.fixture(scope="module")
def repeated(aligned: Path) -> dict[str, str]:
    """A prompt of each of three splits, by id; one that self-play made a demonstration from."""
    splits = {row["split"]: row["prompt_id"] for row in read_first(aligned, "prompt_splits")}
    texts = {row["prompt_id"]: row["text"] for row in read_first(aligned, "prompts")}
    played = read_first(aligned, "sft_demonstrations")[0]["prompt_id"]
    return {id_: texts[id_] for id_ in (splits["reward_model"], splits["rl"], played)}


@pytest.fixture(scope="module")
def evaluation(repeated: dict[str, str], root: Path) -> dict[str, Any]:
    """Options that take the run's own prompts for a benchmark."""
    file = root.parent / "questions.jsonl"
    return {"questions": write_questions(file, *repeated.values()), "question_limit": None}


def write_questions(file: Path, *texts: str) -> str:
    rows = [{"question_id": i, "text": text, "category": "own"} for i, text in enumerate(texts, 1)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(file)


def read_first(root: Path, dataset: str) -> list[dict[str, Any]]:
    text = find_files(root, dataset)[0].read_text()
    return [json.loads(line) for line in text.splitlines()]


def run_nodes(project: Path, root: Path, evaluation: dict[str, Any], names: list[str]) -> None:
    run_smoke(
        project,
        root,
        {"evaluation": evaluation},
        pipeline_names=["__default__"],
        node_names=names,
    )


def list_descendants(root: Path, repeated: dict[str, str]) -> set[str]:
    """The demonstrations whose dialogue began with a repeated prompt, by candidate."""
    rows = read_first(root, "sft_demonstrations")
    return {row["candidate_id"] for row in rows if row["prompt_id"] in repeated}


def test_our_own_benchmarks_are_repeated_by_nothing(project: Path, root: Path) -> None:
    run_nodes(project, root, {}, COUNT)
    found = read_document(root, "training_contamination_metrics")
    splits = Counter(row["split"] for row in read_first(root, "prompt_splits"))
    assert found["n_prompts"] == sum(
        splits[name] for name in ("reward_model", "held_out_reward_model", "self_play", "rl")
    )
    assert found["n_demonstrations"] == len(read_first(root, "sft_demonstrations"))
    assert found["prompts_that_repeat"] == found["demonstrations_that_repeat"] == 0
    assert set(found["by_split"].values()) == {0}


def test_with_another_benchmark_the_report_says_what_the_models_were_trained_on(
    project: Path, root: Path, repeated: dict[str, str], evaluation: dict[str, Any]
) -> None:
    descendants = list_descendants(root, repeated)
    assert descendants
    # The option changes nothing here: the models are trained.
    for drop in (False, True):
        run_nodes(project, root, {**evaluation, "drop_contaminated": drop}, COUNT)
        found = read_document(root, "training_contamination_metrics")
        by_split = {name: n for name, n in found["by_split"].items() if n}
        assert by_split == dict.fromkeys(REPEATED, 1)
        assert found["prompts_that_repeat"] == 3
        assert found["demonstrations_that_repeat"] == len(descendants)
    assert {row["text_id"] for row in read_latest(root, "contamination")} == repeated.keys()


def test_demonstrations_of_self_play_are_only_listed_without_the_option(
    project: Path, root: Path, repeated: dict[str, str], evaluation: dict[str, Any]
) -> None:
    run_nodes(project, root, evaluation, SELECT)
    first, *_, last = find_files(root, "sft_demonstrations")
    assert last.read_bytes() == first.read_bytes()
    listed = {row["text_id"] for row in read_latest(root, "sft_contamination")}
    assert listed == list_descendants(root, repeated)
    assert read_latest(root, "ledger_sft_demonstrations") == []


def test_demonstrations_of_self_play_are_dropped_into_the_ledger_with_the_option(
    project: Path, root: Path, repeated: dict[str, str], evaluation: dict[str, Any]
) -> None:
    run_nodes(project, root, {**evaluation, "drop_contaminated": True}, SELECT)
    dropped = list_descendants(root, repeated)
    first = read_first(root, "sft_demonstrations")
    assert read_latest(root, "sft_demonstrations") == [
        row for row in first if row["candidate_id"] not in dropped
    ]
    ledger = read_latest(root, "ledger_sft_demonstrations")
    assert {row["row_id"] for row in ledger} == dropped
    assert {row["rule"] for row in ledger} == {"contaminated"}
    assert all(row["detail"].startswith("repeats open-0003 (") for row in ledger)


def test_what_the_policy_was_trained_on_is_not_counted_from_other_demonstrations(
    project: Path, root: Path, evaluation: dict[str, Any]
) -> None:
    with pytest.raises(UserError, match="sft_policy was trained on another version of demonstr"):
        run_nodes(project, root, evaluation, COUNT)


def test_prompts_are_only_listed_without_the_option(
    project: Path, root: Path, repeated: dict[str, str], evaluation: dict[str, Any]
) -> None:
    names = ["read_benchmarks", "check_contamination", "split_prompts"]
    run_nodes(project, root, evaluation, names)
    first, *_, last = find_files(root, "prompt_splits")
    assert last.read_bytes() == first.read_bytes()
    assert {row["text_id"] for row in read_latest(root, "contamination")} == repeated.keys()
    assert read_document(root, "contamination_metrics")["prompts_that_repeat"] == 3


def test_prompts_that_repeat_an_item_are_used_for_nothing_with_the_option(
    project: Path, root: Path, repeated: dict[str, str], evaluation: dict[str, Any]
) -> None:
    run_smoke(project, root, {"evaluation": {**evaluation, "drop_contaminated": True}})
    splits = {row["prompt_id"]: row["split"] for row in read_latest(root, "prompt_splits")}
    set_aside = {prompt for prompt, split in splits.items() if split == "contaminated"}
    assert set_aside == repeated.keys()
    assert len(splits) == 20
    for name in ("responses", "comparisons"):
        rows = read_latest(root, name)
        assert rows
        assert {row["prompt_id"] for row in rows}.isdisjoint(repeated)


def test_a_demonstration_that_repeats_an_item_stops_a_run_before_anything_is_generated(
    project: Path, root: Path, tmp_path: Path
) -> None:
    _, shown = read_demonstrations((project / "assets/HHH_prompt.txt").read_text(), "HHH")
    question = shown[1].split("\n\nAssistant:")[0].removeprefix("\n\nHuman: ")
    evaluation = {"questions": write_questions(tmp_path / "questions.jsonl", question)}
    message = r"^HHH_prompt.txt, demonstration 2: repeats the benchmark item open-0001 \('which"
    options = {"evaluation": {**evaluation, "drop_contaminated": True}}
    with pytest.raises(UserError, match=message):
        run_smoke(project, tmp_path / "data", options)
    assert not list(tmp_path.glob("data/04_feature/generation/*"))
    # Where the first check is skipped, splitting does not go on, either.
    run_nodes(project, root, evaluation, ["read_benchmarks"])
    before = len(find_files(root, "prompt_splits"))
    with pytest.raises(UserError, match=message):
        run_smoke(project, root, options, from_inputs=["prompts"])
    assert len(find_files(root, "prompt_splits")) == before
