"""Training over two nodes of a real Slurm."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from crashes import count_whole
from slurm_cluster import ask, find_job, list_my_jobs, start_now
from training_jobs import Run, compare, make_rows, train, write_job
from waiting import wait_for

from almost_kedro.errors import UserError
from almost_kedro.options.launch import LaunchOptions
from almost_kedro.options.slurm import SlurmOptions
from almost_kedro.processes.work_folders import set_cluster
from almost_kedro.training.launch import launch

pytestmark = pytest.mark.slurm
ROWS = make_rows(32, seed=0)
LONG = {"epochs": 6, "save_every": 2}


@pytest.fixture
def on_the_cluster() -> Iterator[None]:
    set_cluster(SlurmOptions())
    yield
    set_cluster(None)


@pytest.fixture(scope="module")
def here(tiny_models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A training of two ranks on this machine."""
    out = tmp_path_factory.mktemp("here")
    return train("reward", out, tiny_models["tiny-large"], ROWS, ranks=2, **LONG)


def write(out: Path, base: Path) -> Run:
    """The same training, with a rank on each of two nodes."""
    changes = {"launch": LaunchOptions(backend="slurm", nodes=2, dtype="float32")}
    return write_job("reward", out, base, ROWS, changes=changes, **LONG)


def test_two_nodes_train_the_weights_of_two_ranks_here_even_if_requeued(
    here: Run, tiny_models: dict[str, Path], tmp_path: Path, on_the_cluster: None
) -> None:
    run, before = write(tmp_path, tiny_models["tiny-large"]), list_my_jobs()
    with ThreadPoolExecutor() as pool:
        training = pool.submit(launch, run.job, run.job_file)
        job = find_job(tmp_path)
        wait_for(lambda: count_whole(run) >= 2)
        ask("scontrol", "requeue", job)
        start_now(job)
        training.result(120)
    assert list_my_jobs() == [*before, job]
    assert "NodeList=n[1-2]" in ask("scontrol", "show", "job", job)
    assert run.metrics["ranks"] == 2
    assert compare(run.load(), here.load()) == 0
    assert "--num_machines 2 --machine_rank 1" in (tmp_path / "train.log").read_text()


def test_what_a_rank_reports_is_one_clear_line(
    tiny_models: dict[str, Path], tmp_path: Path, on_the_cluster: None
) -> None:
    launch_options = LaunchOptions(backend="slurm", config="fsdp", nodes=2)
    run = write_job(
        "reward", tmp_path, tiny_models["tiny-large"], ROWS, changes={"launch": launch_options}
    )
    with pytest.raises(UserError, match=r"^option launch.processes: 1 ranks .* it has 0 GPUs"):
        launch(run.job, run.job_file)
