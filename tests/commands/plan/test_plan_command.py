"""`kedro plan` as a user meets it, and a run after it."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from heavy_imports import CHECK, run_python
from sessions import kedro, run_pipeline

from almost_kedro.commands.compare.runs import read_runs
from almost_kedro.commands.plan.assumptions import Assumptions
from almost_kedro.processes.tracking import explained, name_store, open_client

pytestmark = pytest.mark.slow

GPU = "tflops=312,bandwidth_gb_s=2039,memory_gb=80,count=4"


def plan(
    project: Path, root: Path, *options: str, **params: Any
) -> subprocess.CompletedProcess[str]:
    values = {"data_root": root, **params}
    given = ",".join(f"{name}={value}" for name, value in values.items())
    return kedro(project, "plan", "--params", given, *options)


def read_plan(root: Path) -> Any:
    [file] = root.glob("08_reporting/plan.json/*/plan.json")
    return json.loads(file.read_text())


def test_a_plan_is_printed_kept_and_compared_with_the_run(
    project: Path, tiny_models: dict[str, Path], tmp_path: Path
) -> None:
    done = plan(project, tmp_path, "--env", "smoke")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert any("this machine (cpu" in line and "tiny-small" in line for line in lines)
    [head] = [line for line in lines if line.startswith("step ")]
    assert head.split()[:3] == ["step", "model", "requests"]
    steps = [line for line in lines if line.startswith("responses (tiny-large)")]
    assert steps[0].split()[2:4] == ["tiny-large", "14"]
    assert any(line.startswith("all ") for line in lines)
    assert "what the request cache and the work folders hold" in done.stdout
    assert "prompts_kept: 0.81 of requests" in done.stdout
    kept = read_plan(tmp_path)
    assert len(kept["steps"]) > 20
    assert all(each["seconds"] >= 0 for each in kept["steps"])

    done = run_pipeline(project, tmp_path, "synthetic_feedback")
    assert done.returncode == 0, done.stdout + done.stderr
    metrics = read_metrics(tmp_path)
    assert metrics["plan.responses.tiny-large.requests"] == 14
    assert metrics["actual.responses.tiny-large.requests"] == 14
    assert metrics["plan.prompts.seconds"] > 0
    assert metrics["actual.prompts.seconds"] > 0
    # Other pipelines were planned, and not run.
    assert not [name for name in metrics if name.startswith("plan.rl_policy")]


def read_metrics(root: Path) -> dict[str, float]:
    folder = root / "08_reporting/mlflow"
    [run] = read_runs(folder, None, str(root), root)
    uri = name_store(folder, None)
    with explained(uri):
        found: dict[str, float] = open_client(uri).get_run(run.id).data.metrics
    return found


def test_a_run_under_other_options_has_no_plan(
    project: Path, tiny_models: dict[str, Path], tmp_path: Path
) -> None:
    done = plan(project, tmp_path, "--env", "smoke", "--gpu", GPU, seed=3)
    assert done.returncode == 0, done.stderr
    done = run_pipeline(project, tmp_path, "synthetic_feedback", "prompt_generation.n_prompts=8")
    assert done.returncode == 0, done.stdout + done.stderr
    assert not [name for name in read_metrics(tmp_path) if name.startswith(("plan.", "actual."))]


def test_published_models_are_planned_for_gpus_without_being_here(
    project: Path, tmp_path: Path
) -> None:
    done = plan(project, tmp_path, "--env", "paper", "--gpu", GPU, "--pipeline", "rl")
    assert done.returncode == 0, done.stderr
    assert "4 GPUs of 312 TFLOP/s" in done.stdout
    steps = read_plan(tmp_path)["steps"]
    assert {each["pipeline"] for each in steps} == {"rl"}
    [training] = [each for each in steps if each["kind"] == "rl"]
    # 500 steps of 4 ranks x 8 rows x 4 batches, each answer as long as assumed.
    assert training["tokens"] == pytest.approx(500 * 128 * 384 * Assumptions().rollout_length)
    assert training["seconds"] > 600
    assert 40_000 < training["memory_mb"] < 80_000


def test_one_gpu_has_room_for_its_environment(project: Path, tmp_path: Path) -> None:
    gpu = "tflops=165,bandwidth_gb_s=1008,memory_gb=24"
    done = plan(project, tmp_path, "--env", "single_gpu", "--gpu", gpu)
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stdout
    assert max(each["memory_mb"] or 0 for each in read_plan(tmp_path)["steps"]) < 24_000
    # The same without adapters, of the policy alone.
    done = plan(project, tmp_path, "--env", "single_gpu", "--gpu", gpu, **{"sft.lora": "null"})
    assert "warning: sft_policy_training needs about" in done.stdout


def read_proposal(done: subprocess.CompletedProcess[str]) -> tuple[dict[str, Any], str]:
    """The YAML before the plan, and the comments above it."""
    text = done.stdout[: done.stdout.index("\nfor ")]
    proposal: dict[str, Any] = yaml.safe_load(text)
    return proposal, "".join(line for line in text.splitlines(True) if line.startswith("#"))


def test_what_fits_is_proposed_as_options_under_which_nothing_is_warned_of(
    project: Path, tmp_path: Path
) -> None:
    done = plan(project, tmp_path, "--env", "paper", "--gpu", GPU, "--fit")
    assert done.returncode == 0, done.stderr
    found, why = read_proposal(done)
    # A 13 B model fits on each GPU to write; 7 B with its moments does not, to be trained.
    assert found["generation"] == {"replicas": 4, "tensor_parallel": 1}
    assert found["launch"] == {"config": "fsdp", "processes": 4, "nodes": 1}
    blocks = {name: found[name] for name in ("reward_model", "sft", "rl")}
    # As many rows a step as published.
    rows = {name: 4 * each["batch_size"] * each["accumulation"] for name, each in blocks.items()}
    assert rows == {"reward_model": 128, "sft": 64, "rl": 128}
    assert not any("lora" in each for each in blocks.values())
    # Faster, and would be taken if there were room.
    assert "reward_model: config fsdp, batch_size 4 would take" in why
    assert "warning" not in done.stdout
    assert max(each["memory_mb"] or 0 for each in read_plan(tmp_path)["steps"]) < 80 * 1024 * 0.92


def test_adapters_are_proposed_where_weights_do_not_fit(project: Path, tmp_path: Path) -> None:
    gpu = GPU.replace("memory_gb=80", "memory_gb=40").replace("count=4", "count=8")
    done = plan(project, tmp_path, "--env", "paper", "--gpu", gpu, "--fit")
    assert done.returncode == 0, done.stderr
    found, why = read_proposal(done)
    assert found["rl"]["lora"]["rank"] == 16
    assert "lora" not in found["sft"]
    assert "rl: config fsdp, gradient_checkpointing, batch_size 1 would take" in why


def test_four_bits_are_proposed_where_adapters_do_not_fit_either(
    project: Path, tmp_path: Path
) -> None:
    small = GPU.replace("memory_gb=80", "memory_gb=18").replace("count=4", "count=1")
    done = plan(
        project, tmp_path, "--env", "single_gpu", "--pipeline", "rl", "--gpu", small, "--fit"
    )
    assert done.returncode == 0, done.stderr
    found, why = read_proposal(done)
    assert found["rl"]["lora"]["load_in_4bit"] is True
    assert "rl: config gpu, adapters, gradient_checkpointing, batch_size 1 would take" in why
    assert "does not fit; config gpu, adapters above 4 bits, " in why


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--gpu", "tflops=1,bandwidth_gb_s=1,memory_gb=16"], "generation: at least .* take GPUs"),
        ([], "--fit: give the GPUs that it has to fit, --gpu tflops="),
    ],
)
def test_what_can_not_fit_is_one_line(
    options: list[str], says: str, project: Path, tmp_path: Path
) -> None:
    done = plan(project, tmp_path, "--env", "paper", "--fit", *options)
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert re.search(says, line)


def test_small_gpus_are_warned_of(project: Path, tmp_path: Path) -> None:
    small = GPU.replace("memory_gb=80", "memory_gb=16")
    done = plan(project, tmp_path, "--env", "paper", "--gpu", small, "--pipeline", "reward_model")
    assert done.returncode == 0, done.stderr
    assert "warning: reward_model_training needs about" in done.stdout


def test_a_model_of_unknown_size_is_named(project: Path, tmp_path: Path) -> None:
    params = {"models.far.source": "hub", "models.far.id": "no/where", "sft.model": "far"}
    done = plan(project, tmp_path, "--env", "smoke", "--gpu", GPU, "--pipeline", "rl", **params)
    assert done.returncode == 0, done.stderr
    assert "model 'far': its size is unknown" in done.stdout
    assert "or give its `shape` in models.yml" in done.stdout
    assert "at least" in done.stdout


@pytest.mark.parametrize(
    ("options", "params", "says"),
    [
        (["--pipeline", "contrasts"], {}, "pipeline 'contrasts': there is no plan for it"),
        (["--gpu", "tflops=1"], {}, "--gpu: bandwidth_gb_s, memory_gb missing"),
        (["--gpu", GPU], {"launch.processes": 8}, "--gpu: count is 4, but the options ask for 8"),
        ([], {"generation.engine": "vllm"}, "only the embedded engine is measured here"),
        ([], {"self_play.user_demonstrations": "Nobody"}, "needs the file Nobody_prompt.txt"),
    ],
)
def test_what_a_user_can_mend_is_one_line(
    project: Path, tmp_path: Path, options: list[str], params: dict[str, Any], says: str
) -> None:
    done = plan(project, tmp_path, "--env", "smoke", *options, **params)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert says in done.stderr.splitlines()[-1]
    assert not list(tmp_path.glob("08_reporting/plan.json"))


def test_the_command_imports_nothing_heavy(project: Path) -> None:
    run_python(f"import almost_kedro.commands.plan.command\n{CHECK}", project)
