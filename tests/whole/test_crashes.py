"""Pulling the plug: kill -9 at random moments, then the same command again.

Real processes on tiny models. Moments are drawn by seed, as a share of what an undisturbed run
takes; 31 kills in all.
"""

import json
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from crash_sites import ServerProcess, Site, check_same, find_worker, finish, write_conf
from waiting import wait_for

pytestmark = pytest.mark.slow

KILLS, SERVER_KILLS = 5, 3


def kill_at(kedro: subprocess.Popen[str], site: Site, moment: float, victim: str) -> bool:
    """Kill Kedro or its worker at a moment, if it gets that far; the worker as soon as one is."""
    deadline = time.monotonic() + moment
    while kedro.poll() is None:
        if time.monotonic() >= deadline:
            process = psutil.Process(kedro.pid) if victim == "kedro" else find_worker(site.root)
            if process:
                process.kill()
                kedro.communicate(timeout=60)
                return True
        time.sleep(0.02)
    assert kedro.returncode == 0, kedro.communicate()[0]
    kedro.communicate()
    return False


def wait_until_gone(site: Site) -> None:
    """A killed Kedro takes its worker along."""
    deadline = time.monotonic() + 20
    while find_worker(site.root):
        assert time.monotonic() < deadline, "the worker outlives Kedro"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def undisturbed(
    project: Path, tiny_models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Site, float]:
    site = Site(tmp_path_factory.mktemp("undisturbed") / "data", project)
    start = time.monotonic()
    finish(site)
    assert site.read_count(), "nothing was counted"
    return site, time.monotonic() - start


@pytest.mark.parametrize("seed", range(5))
def test_kill_9_at_random_moments_costs_nothing(
    seed: int, undisturbed: tuple[Site, float], project: Path, tmp_path: Path
) -> None:
    expected, seconds = undisturbed
    draw = random.Random(seed)
    site = Site(tmp_path / "data", project)
    kills = 0
    while kills < KILLS:
        victim = draw.choice(["kedro", "worker"])
        start = time.monotonic()
        if kill_at(site.start(), site, draw.uniform(0.1, 1.0) * seconds, victim):
            kills += 1
        else:  # it ended before: with so much in the cache, a run takes less
            seconds = time.monotonic() - start
        wait_until_gone(site)
    finish(site)
    check_same(site, expected)


def test_a_second_run_on_one_data_root_is_refused(
    project: Path, tiny_models: dict[str, Path], tmp_path: Path
) -> None:
    site = Site(tmp_path / "data", project)
    first = site.start()
    wait_for(lambda: find_worker(site.root))
    second = site.start()
    output, _ = second.communicate(timeout=60)
    assert second.returncode == 1
    assert f"in use by another run (process {first.pid}, since" in output.splitlines()[-1]
    output, _ = first.communicate(timeout=300)
    assert first.returncode == 0, output


def test_a_cache_cut_short_is_repaired_and_the_run_goes_on(
    undisturbed: tuple[Site, float], project: Path, tmp_path: Path
) -> None:
    expected, _ = undisturbed
    site = Site(tmp_path / "data", project)
    shutil.copytree(expected.root, site.root)
    cache = site.root / "04_feature/generation/completions.sqlite"
    with cache.open("r+b") as file:
        file.truncate(cache.stat().st_size // 2)
    kedro = site.start()
    output, _ = kedro.communicate(timeout=300)
    assert kedro.returncode == 1
    assert "damaged" in output.splitlines()[-1]
    assert "`kedro cache repair`" in output.splitlines()[-1]
    command = [sys.executable, "-m", "kedro", "cache", "repair", "--env", "smoke"]
    command += ["--params", f"data_root={site.root}"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=True)
    kept = int(done.stdout.split()[0])
    assert kept > 20
    finish(site)
    wanted = {row["key"] for row in expected.read_count()}
    assert len(site.read_count()) == len(wanted) - kept
    assert site.load() == expected.load()


@pytest.fixture
def servers(tiny_models: dict[str, Path], tmp_path: Path) -> Iterator[dict[str, ServerProcess]]:
    started = {
        name: ServerProcess(folder, tmp_path / f"{name}.log")
        for name, folder in tiny_models.items()
    }
    yield started
    for server in started.values():
        server.kill()


@pytest.mark.parametrize("seed", [1, 2])
def test_a_server_killed_at_random_moments_costs_nothing_once_it_is_back(
    seed: int,
    servers: dict[str, ServerProcess],
    project: Path,
    tmp_path: Path,
) -> None:
    conf = write_conf(project, servers, tmp_path / "conf")
    # The server answers one request at a time.
    options = (
        ",prompt_generation.n_prompts=4,prompt_generation.round_size=16"
        ",response_generation.max_new_tokens=48"
    )
    expected = Site(tmp_path / "expected", project, conf, options)
    start = time.monotonic()
    finish(expected)
    seconds = time.monotonic() - start
    before = {name: read_log(server) for name, server in servers.items()}
    draw = random.Random(seed)
    site = Site(tmp_path / "data", project, conf, options)
    kedro = site.start()
    begin = time.monotonic()
    for moment in sorted(draw.uniform(0.2, 1.0) * seconds for _ in range(SERVER_KILLS)):
        time.sleep(max(begin + moment - time.monotonic(), 0))
        server = servers[draw.choice(sorted(servers))]
        server.kill()
        time.sleep(draw.uniform(0, 1))
        server.start()
    output, _ = kedro.communicate(timeout=300)
    assert kedro.returncode == 0, output
    assert site.load() == expected.load()
    for name, server in servers.items():
        again = read_log(server)[len(before[name]) :]
        # An answer that was on its way when its server died is asked for once more.
        assert len(again) <= len(before[name]) + SERVER_KILLS
        assert {tuple(map(str, row)) for row in again} == {
            tuple(map(str, row)) for row in before[name]
        }
    check_same(site, expected)


def read_log(server: ServerProcess) -> list[Any]:
    return [json.loads(line) for line in server.log.read_text().splitlines()]
