"""MC1 in the likelihood form is what lm-evaluation-harness computes. Run by `make test-harness`."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml

from almost_kedro.contract import LogProb, ModelFolder
from almost_kedro.evaluation.benchmark_files import read_choices
from almost_kedro.evaluation.benchmark_sources import read_mc1_preset, spread
from almost_kedro.evaluation.truthfulqa import build_mc1_requests, score_mc1
from almost_kedro.generation.likelihood_job import LikelihoodJob
from almost_kedro.jobs.likelihood import compute_logprobs
from almost_kedro.options.evaluation import EvaluationOptions
from almost_kedro.rows.evaluation import ChoiceItem

pytestmark = pytest.mark.harness
TOLERANCE = 1e-3


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even a local file's load is counted on the hub otherwise."""
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)


@pytest.fixture(scope="module")
def task() -> Path:
    """The harness's own description of its task."""
    spec = find_spec("lm_eval")
    assert spec is not None
    return Path(str(spec.origin)).parent / "tasks/truthfulqa/truthfulqa_mc1.yaml"


@pytest.fixture(scope="module")
def preset(task: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its question-answer pairs in a file, as a user would give them."""
    template = yaml.safe_load(task.read_text())["doc_to_text"]
    file = tmp_path_factory.mktemp("preset") / "pairs.txt"
    file.write_text(jinja2.Template(template).render(question="").removesuffix("\n\nQ: \nA:"))
    return file


@pytest.fixture(scope="module")
def items(project: Path) -> list[ChoiceItem]:
    """Some of our own, to keep this short on slow machines."""
    return spread(read_choices(project / "assets/benchmarks/truthfulqa_mc1.json"), 20)


def ask_harness(
    task: Path, model: Path, items: list[ChoiceItem], folder: Path
) -> tuple[dict[str, float], list[float], float]:
    """Its log-probabilities by our ids, its verdict on each question, its accuracy.

    The task is its own in all but the rows, which have the form of TruthfulQA's on the hub.
    """
    import lm_eval
    from lm_eval.tasks import TaskManager

    rows = [
        {
            "question": item["question"],
            "mc1_targets": {
                "choices": item["choices"],
                "labels": [1] + [0] * (len(item["choices"]) - 1),
            },
        }
        for item in items
    ]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    changes = {
        "include": str(task),
        "task": "own_mc1",
        "dataset_path": "json",
        "dataset_name": None,
        "dataset_kwargs": {
            "data_files": {"validation": str(folder / "rows.jsonl")},
            "cache_dir": str(folder / "cache"),
        },
    }
    (folder / "own_mc1.yaml").write_text(yaml.safe_dump(changes))
    found: Any = lm_eval.simple_evaluate(
        model="hf",
        model_args={"pretrained": str(model), "dtype": "float32"},
        tasks=["own_mc1"],
        task_manager=TaskManager(include_path=folder, include_defaults=False),
        device="cpu",
        batch_size=8,
        bootstrap_iters=0,
    )
    samples = sorted(found["samples"]["own_mc1"], key=lambda sample: sample["doc_id"])
    scores = {
        f"{item['item_id']}/{number}": float(logprob)
        for item, sample in zip(items, samples, strict=True)
        for number, (logprob, _) in enumerate(sample["filtered_resps"])
    }
    return scores, [s["acc"] for s in samples], found["results"]["own_mc1"]["acc,none"]


def ask_ours(model: Path, items: list[ChoiceItem], preset: str, folder: Path) -> dict[str, LogProb]:
    text = read_mc1_preset(EvaluationOptions(mc1_preset=preset))["text"]
    job = LikelihoodJob(
        model=ModelFolder(name="model", folder=model, fingerprint="f"), dtype="float32", out=folder
    )
    return compute_logprobs(job, build_mc1_requests(items, "likelihood", text))[0]


def test_every_choice_has_the_log_probability_that_the_harness_finds(
    task: Path, preset: Path, items: list[ChoiceItem], smollm2: Path, tmp_path: Path
) -> None:
    expected, verdicts, accuracy = ask_harness(task, smollm2, items, tmp_path)
    answers = ask_ours(smollm2, items, str(preset), tmp_path)
    found = {id_: answer["logprob"] for id_, answer in answers.items()}
    assert len(found) == sum(len(item["choices"]) for item in items)
    assert found == pytest.approx(expected, abs=TOLERANCE, rel=0)

    rows, summary = score_mc1(items, found, "original")
    assert [row["hit"] for row in rows] == verdicts
    assert summary["all"]["accuracy"] == accuracy
    assert 0 < accuracy < 1


def test_contexts_that_are_too_long_lose_the_same_tokens(
    task: Path, preset: Path, items: list[ChoiceItem], smollm2: Path, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    model.mkdir()
    for file in smollm2.iterdir():
        (model / file.name).symlink_to(file)
    (model / "config.json").unlink()
    config = json.loads((smollm2 / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 48}))
    some = spread(items, 4)
    expected, _, _ = ask_harness(task, model, some, tmp_path)
    answers = ask_ours(model, some, str(preset), tmp_path)
    assert all(answer["cut"] > 0 for answer in answers.values())
    found = {id_: answer["logprob"] for id_, answer in answers.items()}
    assert found == pytest.approx(expected, abs=TOLERANCE, rel=0)


def test_without_its_pairs_other_figures_are_found(
    task: Path, preset: Path, items: list[ChoiceItem], smollm2: Path, tmp_path: Path
) -> None:
    some = spread(items, 2)
    found, other = (ask_ours(smollm2, some, given, tmp_path) for given in (str(preset), "own"))
    assert all(abs(found[id_]["logprob"] - other[id_]["logprob"]) > TOLERANCE for id_ in found)
