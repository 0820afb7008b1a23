"""The memory that a program says it took is its own."""

import subprocess
import sys

from almost_kedro.processes.memory import peak_memory

CHILD = "from almost_kedro.processes.memory import peak_memory; print(peak_memory())"
# Touches its memory, then starts a small program, as a run with many rows does.
PARENT = f"""
import subprocess, sys
held = b"x" * (512 * 2**20)
subprocess.run([sys.executable, "-c", {CHILD!r}], check=True)
assert len(held) > 0
"""


def test_a_small_program_of_a_large_process_is_small() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PARENT], capture_output=True, text=True, check=True
    )
    assert 2**20 < int(done.stdout) < 256 * 2**20


def test_the_peak_counts_what_was_given_back() -> None:
    before = peak_memory()
    held = b"x" * (before + 64 * 2**20)
    del held
    assert peak_memory() > before
