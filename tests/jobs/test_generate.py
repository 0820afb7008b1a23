from pathlib import Path

import pytest

from almost_kedro.contract import Completion, ModelFolder, Sampling
from almost_kedro.errors import UserError
from almost_kedro.generation.job import RequestGroup, ResponsesTask
from almost_kedro.jobs.generate import Asked, read_answers, run_workers
from almost_kedro.options.generation import GenerationOptions
from almost_kedro.rows.json_lines import write_rows

SAMPLING = Sampling(temperature=1.0, top_p=0.9, max_new_tokens=8, seed=3)
LONG = "word " * 5000


def ask(folder: Path, *texts: str) -> Asked:
    """Ask a model to continue texts."""
    group = RequestGroup(name="answers", prefix="", sampling=SAMPLING, texts=list(texts))
    return Asked(
        "test",
        ModelFolder(name=folder.name, folder=folder, fingerprint=folder.name),
        GenerationOptions(engine="embedded", dtype="float32"),
        ResponsesTask(groups=[group]),
    )


def test_answers_are_read_one_by_one(tmp_path: Path) -> None:
    completions = [Completion("naïve \u2028", "eos", 2), Completion("", "eos", 0)]
    rows = [{"key": f"k{i}", **each.__dict__} for i, each in enumerate(completions)]
    write_rows(tmp_path / "answers_0.jsonl", rows)
    with (tmp_path / "answers_0.jsonl").open("a") as file:
        file.write("not read yet")
    answers = read_answers(tmp_path / "answers_0.jsonl")
    read = [next(answers), next(answers)]
    assert read == [("k0", completions[0]), ("k1", completions[1])]
    assert read[0][1].finish_reason is read[1][1].finish_reason


@pytest.mark.slow
def test_a_task_that_fails_costs_no_answer_of_the_one_before_it(
    tiny_models: dict[str, Path], tmp_path: Path
) -> None:
    good, bad = ask(tiny_models["tiny-small"], "Why?", "How?"), ask(tiny_models["tiny-large"], LONG)
    with pytest.raises(UserError, match=r"^a request takes \d+ tokens"):
        run_workers([good, bad], tmp_path)
    first, second = (each.make_job(tmp_path).out for each in (good, bad))
    answers = list(read_answers(first / "answers_0.jsonl"))
    assert len(answers) == 2
    assert not (second / "metrics.json").exists()

    # What is known needs no model, even if it is not there any more.
    assert good.model.folder
    gone = good._replace(model=good.model.model_copy(update={"folder": tmp_path / "gone"}))
    other = ask(tiny_models["tiny-large"], "Who?")
    (again, cost), (_, other_cost) = run_workers([gone, other], tmp_path)
    assert again == first
    assert list(read_answers(again / "answers_0.jsonl")) == answers
    assert (cost["requests_from_cache"], cost["load_seconds"]) == (2, 0)
    assert other_cost["requests_generated"] == 1


def test_vllm_has_a_process_for_each_model(tmp_path: Path) -> None:
    """Shown by tasks that ask nothing, so that no engine is loaded."""
    none = ask(tmp_path / "model")
    tasks = [
        none._replace(name=f"{engine}-{number}", generation=GenerationOptions(engine=engine))
        for engine in ("vllm", "embedded")
        for number in range(2)
    ]
    folders = [folder for folder, _ in run_workers(tasks, tmp_path)]
    logs = [(folder / "program.log").exists() for folder in folders]
    assert logs == [True, True, False, True]
