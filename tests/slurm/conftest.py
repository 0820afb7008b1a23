from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from slurm_cluster import ask, open_cluster
from slurm_programs import make_program

from almost_kedro.options.slurm import SlurmOptions
from almost_kedro.processes.slurm import run_on_cluster


@pytest.fixture(scope="session", autouse=True)
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A Slurm for all tests in this folder; without its programs, they fail."""
    with open_cluster(tmp_path_factory.mktemp("slurm")):
        yield


@pytest.fixture(scope="session", autouse=True)
def end_of_time(
    cluster: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[], None]]:
    """Waits for a job to reach its time limit, a minute, which passes while other tests run."""
    program = make_program(tmp_path_factory.mktemp("endless"), waits=1)
    asked = SlurmOptions(partition="apart", time_limit="0:01:00")
    with ThreadPoolExecutor() as pool:
        running = pool.submit(run_on_cluster, program, asked)
        yield lambda: running.result(150)
        ask("scancel", "--me", "--partition=apart")
