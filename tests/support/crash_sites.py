"""Data roots whose runs are killed, and servers that are."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from near_ties import Referee

from almost_kedro.contract import Request, Sampling
from almost_kedro.generation.embedded import EmbeddedEngine

SUPPORT = Path(__file__).parent


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
        path = [str(SUPPORT / "counting"), *filter(None, [os.environ.get("PYTHONPATH")])]
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


def finish(site: Site, timeout: float = 300) -> str:
    kedro = site.start()
    output, _ = kedro.communicate(timeout=timeout)
    assert kedro.returncode == 0, output
    return output


def check_near_ties(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Whatever differs must begin with a draw that rounding decided: a resumed batch is another."""
    differing = [k for k in found.keys() & wanted.keys() if found[k]["text"] != wanted[k]["text"]]
    assert differing, "other requests were made, though no answer differs"
    for key in differing:
        row = found[key]
        folder = SUPPORT.parents[1] / "data/01_raw/models" / row["model"]
        engine, request = EmbeddedEngine(folder, dtype="float32"), Request(**row["request"])
        sampling = Sampling(**{**row["sampling"], "stop": tuple(row["sampling"]["stop"])})
        ids = [engine.encode([each["text"]])[0] for each in (row, wanted[key])]
        prompt = engine.encode([request.prefix + request.text])[0]
        assert Referee(folder).is_near_tie(prompt, *ids, request, sampling)


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
        script = SUPPORT / "completion_server.py"
        command = [sys.executable, str(script), str(self.folder), str(self.port), str(self.log)]
        self.process = subprocess.Popen(command, env=self.environment)

    def is_up(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


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
