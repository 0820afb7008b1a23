"""Where a run's programs will run is settled before anything else."""

from pathlib import Path

import pytest
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Node, Pipeline
from option_values import PARAMETERS

from almost_kedro.errors import UserError
from almost_kedro.hooks.programs import ProgramsHook
from almost_kedro.processes.work_folders import has_cluster, set_cluster

PIPELINE = Pipeline([Node(len, "a", "b")])


def make_catalog(backend: str) -> DataCatalog:
    options = {**PARAMETERS, "launch": {"backend": backend}}
    return DataCatalog({"parameters": MemoryDataset(options)})


def test_a_run_without_slurm_ends_in_one_line_before_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"there is no sbatch on the PATH"):
        ProgramsHook().before_pipeline_run(PIPELINE, make_catalog("slurm"))
    assert not has_cluster()


def test_slurm_runs_programs_as_long_as_the_run_lasts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Commands of Slurm that say yes to everything."""
    for name in ("sbatch", "squeue", "scontrol", "scancel"):
        (tmp_path / name).symlink_to("/bin/true")
    monkeypatch.setenv("PATH", str(tmp_path))
    hook = ProgramsHook()
    hook.before_pipeline_run(PIPELINE, make_catalog("slurm"))
    assert has_cluster()
    hook.on_pipeline_error()
    assert not has_cluster()


def test_by_default_programs_run_here(monkeypatch: pytest.MonkeyPatch) -> None:
    prepared: list[bool] = []
    monkeypatch.setattr("almost_kedro.hooks.programs.prepare", lambda: prepared.append(True))
    set_cluster(None)
    ProgramsHook().before_pipeline_run(PIPELINE, make_catalog("local"))
    assert prepared == [True]
    assert not has_cluster()
