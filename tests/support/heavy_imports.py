"""What the Kedro process never imports, looked for in a process of its own."""

import subprocess
import sys
from pathlib import Path

HEAVY = ("torch", "transformers", "trl", "vllm", "accelerate")


CHECK = f"""
import sys
loaded = [name for name in {HEAVY!r} if name in sys.modules]
assert not loaded, loaded
"""


def run_python(code: str, cwd: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
