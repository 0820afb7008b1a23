"""Kedro sessions in processes of their own, and what they leave."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any


def kedro(project: Path, *args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kedro", *args]
    return subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)


def run_pipeline(
    project: Path, root: Path, name: str, *options: str
) -> subprocess.CompletedProcess[str]:
    params = ",".join([f"data_root={root}", *options])
    return kedro(project, "run", "--env", "smoke", "--pipeline", name, "--params", params)


def find_versions(root: Path, name: str) -> list[Path]:
    """All versions of a checkpoint, oldest first."""
    return sorted(root.glob(f"06_models/{name}/*/{name}"))


def read_document(root: Path, name: str) -> Any:
    return json.loads(sorted(root.glob(f"08_reporting/{name}.json/*/*"))[-1].read_text())
