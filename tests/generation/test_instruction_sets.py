"""The suites of engine and reader, with the instructions of older processors than this one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from instruction_sets import LEVELS, VARIABLE, list_levels

pytestmark = pytest.mark.slow

SUITES = ("test_poisoned_memory.py", "test_reading.py", "test_embedded.py", "test_likelihood.py")


@pytest.mark.parametrize("level", LEVELS)
def test_engine_and_reader_compute_right_with_older_instructions(
    level: str, project: Path, tmp_path: Path
) -> None:
    """oneDNN and torch read the variables when they are loaded, so a new process is needed."""
    if level not in list_levels():
        pytest.skip(f"this processor has no {level}")
    if level == list_levels()[-1] and VARIABLE not in os.environ:
        return  # the other tests of this run compute with it
    env = {**os.environ, VARIABLE: level}
    if level == "AVX2":
        env["ATEN_CPU_CAPABILITY"] = "avx2"
    folder = project / "tests/generation"
    command = [sys.executable, "-m", "pytest", "-m", "not real and not vllm and not slow"]
    command += ["-n", "0", "-p", "no:cacheprovider", "--basetemp", str(tmp_path / "temp")]
    done = subprocess.run(
        [*command, *(str(folder / suite) for suite in SUITES)],
        cwd=project,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert f"numbers: float32 and bfloat16 by {level}" in done.stdout
