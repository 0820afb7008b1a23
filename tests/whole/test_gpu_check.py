"""benchmarks/gpu_check.py: a small run of it on the CPU, and what it says of failures."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from benchmark_scripts import BENCHMARKS, load

pytestmark = pytest.mark.slow

SCRIPT = BENCHMARKS / "gpu_check.py"
TRAININGS = [f"{name}{lora}" for name in ("reward", "sft", "dpo", "rl") for lora in ("", "_lora")]


check = load("gpu_check")


def test_every_program_runs_small_and_is_a_row_of_the_table(tmp_path: Path) -> None:
    command = [sys.executable, SCRIPT, "--small", "--out", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    document = json.loads((tmp_path / "out/gpu_check.json").read_text())
    rows = document["rows"]
    assert [row["what"] for row in rows] == ["greedy answers", "tokens/s, 3 shots", *TRAININGS]
    assert rows[0]["result"] == "100% of 4 are the CPU's, token by token"
    assert all("tokens/s" in row["result"] for row in rows[1:])
    assert "0 of 10 failed" in done.stdout


def test_a_failure_is_a_row_and_no_end() -> None:
    def fail(_: Any) -> None:
        raise RuntimeError("CUDA error: out of memory")

    row = check.carry_out(("reward", fail))
    assert row.failed
    assert row.result == "RuntimeError: CUDA error: out of memory"
    assert "FAILED RuntimeError" in check.describe(row)


def test_what_has_to_be_installed_beside_torch_is_what_the_programs_import() -> None:
    names = {line.split("==")[0] for line in check.list_packages()}
    assert {"transformers", "trl", "accelerate", "datasets", "peft", "pyarrow", "pydantic"} <= names
    # These come with torch, or are the Kedro process's own.
    assert not names & {"torch", "jinja2", "kedro", "mlflow", "almost-kedro"}
