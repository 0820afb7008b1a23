"""Kedro sessions in processes of their own, and what they leave."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

ALIGNMENT = ("synthetic_feedback", "reward_model", "rmsp_sft", "rl")


def make_command(*args: str) -> list[str]:
    return [sys.executable, "-m", "kedro", *args]


def make_options(root: Path, names: str, *options: str) -> list[str]:
    """Options for one pipeline, or for several in one process, with commas between."""
    params = ",".join([f"data_root={root}", *options])
    flag = "--pipelines" if "," in names else "--pipeline"
    return ["--env", "smoke", flag, names, "--params", params]


def kedro(project: Path, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        make_command(*args), cwd=project, capture_output=True, text=True, check=False
    )


def run_pipeline(
    project: Path, root: Path, names: str, *options: str
) -> subprocess.CompletedProcess[str]:
    return kedro(project, "run", *make_options(root, names, *options))


def find_versions(root: Path, name: str) -> list[Path]:
    """All versions of a checkpoint, oldest first."""
    return sorted(root.glob(f"06_models/{name}/*/{name}"))


def read_document(root: Path, name: str) -> Any:
    return json.loads(sorted(root.glob(f"08_reporting/{name}.json/*/*"))[-1].read_text())


def build_viz(project: Path, data: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run `kedro viz build` in a copy of the project with this data root; `build/` has the page."""
    for name in ("conf", "assets", "src"):
        shutil.copytree(project / name, folder / name)
    for name in ("pyproject.toml", ".telemetry"):
        shutil.copy(project / name, folder)
    left_out = shutil.ignore_patterns("generation", "work")
    shutil.copytree(data, folder / "data/smoke", ignore=left_out)
    done = subprocess.run(
        make_command("viz", "build", "--include-previews"),
        cwd=folder,
        env={**os.environ, "KEDRO_ENV": "smoke"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done
