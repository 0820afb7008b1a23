"""Pulling the plug: kill -9 at random moments, then the same command again.

Real processes on tiny models. Moments are drawn by seed, as a share of what an undisturbed run
takes; 31 kills in all.
"""

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from near_ties import Referee
from test_programs import wait_for

from almost_kedro.generation.embedded import EmbeddedEngine
from almost_kedro.generation.engine import Request, Sampling

TESTS = Path(__file__).parent
KILLS, SERVER_KILLS = 5, 3
ROWS = (
    "prompts",
    "prompt_requests",
    "assistants",
    "responses",
    "comparisons",
    "ledger_prompts",
    "ledger_responses",
    "ledger_comparisons",
)


@dataclass
class Site:
    """A data root, and the file that counts what was generated for it."""

    root: Path
    project: Path
    conf: Path | None = None
    options: str = ",prompt_generation.n_prompts=12"
    count_file: Path = Path()

    def __post_init__(self) -> None:
        self.count_file = self.root.with_suffix(".count")

    def start(self) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "kedro", "run", "--pipeline", "synthetic_feedback"]
        command += ["--env", "smoke", "--params", f"data_root={self.root}{self.options}"]
        if self.conf:
            command += ["--conf-source", str(self.conf)]
        path = [str(TESTS / "counting"), *filter(None, [os.environ.get("PYTHONPATH")])]
        return subprocess.Popen(
            command,
            cwd=self.project,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(path),
                "COUNT_FILE": str(self.count_file),
            },
        )

    def read_count(self) -> list[dict[str, Any]]:
        if not self.count_file.exists():
            return []
        return [json.loads(line) for line in self.count_file.read_text().splitlines()]

    def load(self) -> dict[str, list[dict[str, Any]]]:
        """All rows, read and checked by the catalog: every version that there is, newest last."""
        bootstrap_project(self.project)
        rows = {}
        params = {"data_root": str(self.root)}
        with KedroSession.create(self.project, env="smoke", runtime_params=params) as session:
            context = session.load_context()
            for name in ROWS:
                versions = sorted(p.name for p in self.root.glob(f"*/{name}.*/*"))
                assert versions, name
                for version in versions:
                    rows[name] = context._get_catalog(load_versions={name: version}).load(name)
        return rows


def find_worker(root: Path) -> psutil.Process | None:
    for process in psutil.process_iter(["cmdline"]):
        line = process.info["cmdline"] or []
        if "almost_kedro.generation.worker" in line and any(str(root) in part for part in line):
            return process
    return None


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


def finish(site: Site, timeout: float = 300) -> str:
    kedro = site.start()
    output, _ = kedro.communicate(timeout=timeout)
    assert kedro.returncode == 0, output
    return output


@pytest.fixture(scope="module")
def undisturbed(
    project: Path, tiny_models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Site, float]:
    site = Site(tmp_path_factory.mktemp("undisturbed") / "data", project)
    start = time.monotonic()
    finish(site)
    return site, time.monotonic() - start


def check_same(site: Site, expected: Site, lost_on_the_way: int = 0) -> None:
    """Nothing twice, nothing missing, and the rows of an undisturbed run."""
    counts = Counter(row["key"] for row in site.read_count())
    twice = [key for key, n in counts.items() if n > 1]
    assert len(twice) <= lost_on_the_way
    wanted = {row["key"]: row for row in expected.read_count()}
    found = {row["key"]: row for row in site.read_count()}
    if found != wanted:
        check_near_ties(found, wanted)
        return
    assert site.load() == expected.load()


def check_near_ties(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Whatever differs must begin with a draw that rounding decided: a resumed batch is another."""
    differing = [k for k in found.keys() & wanted.keys() if found[k]["text"] != wanted[k]["text"]]
    assert differing, "other requests were made, though no answer differs"
    for key in differing:
        row = found[key]
        folder = TESTS.parent / "data/01_raw/models" / row["model"]
        engine, request = EmbeddedEngine(folder, dtype="float32"), Request(**row["request"])
        sampling = Sampling(**{**row["sampling"], "stop": tuple(row["sampling"]["stop"])})
        ids = [engine.encode([each["text"]])[0] for each in (row, wanted[key])]
        prompt = engine.encode([request.prefix + request.text])[0]
        assert Referee(folder).is_near_tie(prompt, *ids, request, sampling)


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


class ServerProcess:
    """A real model behind HTTP, in a process of its own, which can be killed and started again."""

    def __init__(self, folder: Path, log: Path, key: str = ""):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.folder, self.log = folder, log
        self.environment = dict(os.environ)
        if key:
            self.environment["SERVER_KEY"] = key
        self.start()

    def start(self) -> None:
        script = TESTS / "generation/completion_server.py"
        command = [sys.executable, str(script), str(self.folder), str(self.port), str(self.log)]
        self.process = subprocess.Popen(command, env=self.environment)

    def is_up(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def servers(tiny_models: dict[str, Path], tmp_path: Path) -> Iterator[dict[str, ServerProcess]]:
    started = {
        name: ServerProcess(folder, tmp_path / f"{name}.log")
        for name, folder in tiny_models.items()
    }
    yield started
    for server in started.values():
        server.kill()


def write_conf(
    project: Path, servers: dict[str, ServerProcess], folder: Path, **server: str
) -> Path:
    """The project's own conf, with the openai engine in the smoke environment."""
    shutil.copytree(project / "conf", folder, ignore=shutil.ignore_patterns("local"))
    (folder / "local").mkdir()
    file = folder / "smoke/parameters.yml"
    options = yaml.safe_load(file.read_text())
    options["generation"]["engine"] = "openai"
    options["generation"]["servers"] = [
        {"url": f"http://127.0.0.1:{process.port}/v1", "model": name, "served_as": "tiny", **server}
        for name, process in servers.items()
    ]
    file.write_text(yaml.safe_dump(options))
    return folder


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
