"""The Kedro process never imports torch and its like, and starts quickly."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from heavy_imports import CHECK, run_python


def test_registering_and_describing_all_pipelines_imports_nothing_heavy(project: Path) -> None:
    run_python(
        f"""
from pathlib import Path
from kedro.framework.project import pipelines
from kedro.framework.startup import bootstrap_project
bootstrap_project(Path({str(project)!r}))
assert pipelines["__default__"].nodes
{CHECK}
assert "mlflow" not in sys.modules
""",
        project,
    )


@pytest.mark.slow
def test_a_whole_run_imports_nothing_heavy(
    project: Path, tiny_models: dict[str, Path], tmp_path: Path
) -> None:
    run_python(
        f"""
from pathlib import Path
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
bootstrap_project(Path({str(project)!r}))
params = {{"data_root": {str(tmp_path)!r}, "prompt_generation": {{"n_prompts": 2}}}}
with KedroSession.create({str(project)!r}, env="smoke", runtime_params=params) as session:
    session.run(pipeline_names=["synthetic_feedback"])
{CHECK}
""",
        project,
    )
    assert list(tmp_path.glob("*/comparisons.jsonl/*/comparisons.jsonl"))


def test_registry_list_takes_less_than_three_seconds(project: Path) -> None:
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "kedro", "registry", "list"],
            cwd=project,
            capture_output=True,
            text=True,
            check=True,
        )
        seconds.append(time.perf_counter() - start)
    assert "synthetic_feedback" in done.stdout
    assert min(seconds) < 3
