"""A model with one weight that is not finite: its programs say so, and keep nothing as done."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from poisoned_weights import ENDLESS, EVERYWHERE, NUMBERS, draw_poison, poison
from safetensors.torch import load_file

from almost_kedro.contract import Likelihood, ModelFolder, Sampling
from almost_kedro.generation import likelihood, worker
from almost_kedro.generation.job import Job, RequestGroup, ResponsesTask
from almost_kedro.generation.likelihood_job import LikelihoodJob
from almost_kedro.generation.not_finite import describe, explain, find_broken
from almost_kedro.options.generation import GenerationOptions
from almost_kedro.rows.json_lines import read_rows, write_rows

TEXTS = ["Who are you?", "x", "Is it so that a long one is read beside short ones?"]
few = settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def tiny(tiny_models: dict[str, Path]) -> Path:
    return tiny_models["tiny-large"]


def write_job(folder: Path, job: Any) -> str:
    for old in folder.glob("*"):
        old.unlink()
    folder.mkdir(exist_ok=True)
    (folder / "job.json").write_text(job.model_dump_json())
    return str(folder / "job.json")


def run_worker(tmp_path: Path, model: Path, dtype: Any, temperature: float = 1.0) -> int:
    out = tmp_path / "out"
    sampling = Sampling(temperature=temperature, top_p=0.9, max_new_tokens=5)
    group = RequestGroup(name="a", prefix="A prefix. ", sampling=sampling, texts=TEXTS)
    job = Job(
        model=ModelFolder(name="m", folder=model, fingerprint=""),
        generation=GenerationOptions(dtype=dtype),
        cache=out / "cache.sqlite",
        out=out,
        task=ResponsesTask(groups=[group]),
    )
    return worker.main(write_job(out, job))


def run_likelihood(tmp_path: Path, model: Path, dtype: Any) -> int:
    out = tmp_path / "out"
    folder = ModelFolder(name="m", folder=model, fingerprint="")
    job_file = write_job(out, LikelihoodJob(model=folder, dtype=dtype, out=out))
    rows = [
        Likelihood(id=f"row{i}", context=text, continuation=" Yes.") for i, text in enumerate(TEXTS)
    ]
    write_rows(out / "rows.jsonl", rows)
    return likelihood.main(job_file)


def check_refused(status: int, out: Path, error: str) -> None:
    """One line, and nothing that a later run takes for done."""
    assert status == 2
    [line] = [line for line in error.splitlines() if line.startswith("error: ")]
    assert "diverged" not in line
    assert not (out / "metrics.json").exists()
    assert not (out / "logprobs.jsonl").exists()
    assert not (out / "answers_0.jsonl").exists()


@pytest.mark.parametrize("dtype", NUMBERS)
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_worker_without_logits_names_the_request_the_format_and_the_weight(
    dtype: str, temperature: float, tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = poison(tiny, tmp_path / "model", EVERYWHERE[-1], 3, math.nan)
    status = run_worker(tmp_path, model, dtype, temperature)
    error = capsys.readouterr().err
    check_refused(status, tmp_path / "out", error)
    assert "error: the request that ends in 'A" not in error
    assert "beside short ones?': its logits are no finite numbers; " in error
    assert f"computes in {dtype}, and its weight {EVERYWHERE[-1]} is not finite: get or" in error


@pytest.mark.parametrize("dtype", NUMBERS)
def test_a_log_probability_names_the_row_the_format_and_the_weight(
    dtype: str, tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = poison(tiny, tmp_path / "model", EVERYWHERE[0], 3, math.nan)
    status = run_likelihood(tmp_path, model, dtype)
    error = capsys.readouterr().err
    check_refused(status, tmp_path / "out", error)
    assert "error: row 'row2': its log-probability is nan; the model computes in " in error
    assert f"in {dtype}, and its weight {EVERYWHERE[0]} is not finite: get or train 'm'" in error


@few
@given(
    weight=st.sampled_from(EVERYWHERE), place=st.integers(0, 10**6), dtype=st.sampled_from(NUMBERS)
)
def test_a_nan_that_every_text_reads_stops_both_programs(
    weight: str,
    place: int,
    dtype: str,
    tiny: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = poison(tiny, tmp_path / "model", weight, place, math.nan)
    for run in (run_worker, run_likelihood):
        status = run(tmp_path, model, dtype)
        check_refused(status, tmp_path / "out", capsys.readouterr().err)


@few
@given(data=st.data(), dtype=st.sampled_from(NUMBERS))
def test_whatever_weight_it_is_what_is_kept_is_finite(
    data: st.DataObject,
    dtype: str,
    tiny: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    weight, place, value = data.draw(draw_poison(tiny))
    model = poison(tiny, tmp_path / "model", weight, place, value)
    for run in (run_worker, run_likelihood):
        status = run(tmp_path, model, dtype)
        out, error = tmp_path / "out", capsys.readouterr().err
        if status:
            check_refused(status, out, error)
        elif run is run_likelihood:
            assert all(math.isfinite(row["logprob"]) for row in read_rows(out / "logprobs.jsonl"))
            metrics = json.loads((out / "metrics.json").read_text())
            assert math.isfinite(metrics["padding_difference"])


@given(weight=st.sampled_from(["a", "b", "c"]), value=st.sampled_from(ENDLESS))
def test_the_broken_weight_is_the_one_that_is_named(weight: str, value: float) -> None:
    weights = {name: torch.ones(3, 2) for name in "abc"}
    assert find_broken(weights.items()) == ""
    weights[weight][1, 1] = value
    assert find_broken(weights.items()) == weight
    assert describe(weights.items(), torch.float32) == (
        f"the model computes in float32, and its weight {weight} is not finite"
    )


def test_what_has_no_room_in_the_numbers_that_are_computed_with_is_not_finite(tiny: Path) -> None:
    weights = load_file(tiny / "model.safetensors")
    assert find_broken(weights.items(), torch.float16) == ""
    weights["model.norm.weight"] = torch.full((64,), 1e6)
    assert find_broken(weights.items(), torch.float16) == "model.norm.weight"


def test_what_helps_follows_from_what_is_known() -> None:
    whole, broken = [("w", torch.ones(2))], [("w", torch.full((2,), math.inf))]
    known = "the model computes in bfloat16, and"
    assert [
        explain("m", weights, torch.bfloat16, "generation.dtype") for weights in (whole, broken)
    ] == [
        f"{known} all its weights are finite: set generation.dtype: float32",
        f"{known} its weight w is not finite: get or train 'm' anew",
    ]
    assert explain("m", whole, torch.float32, "x.dtype").endswith(
        "computes in float32, and all its weights are finite: take another model than 'm', or "
        "leave the row out"
    )
