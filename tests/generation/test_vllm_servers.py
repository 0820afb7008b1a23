"""Two real vLLM servers on this machine, as on many. Run by `make test-vllm`."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import contract
import pytest
import yaml
from crash_sites import Site, finish
from kept_completions import count_cached, try_sqlite
from waiting import wait_for

from almost_kedro.contract import ModelFolder
from almost_kedro.generation.engine import Engine
from almost_kedro.generation.openai import OpenAIEngine
from almost_kedro.options.generation import GenerationOptions

pytestmark = pytest.mark.vllm
NAME = "smollm2-135m"


class VllmServer:
    """`python -m vllm.entrypoints.openai.api_server`, started as docs/generation.md tells."""

    def __init__(self, folder: Path, log: Path, number: int):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"
        command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server"]
        command += ["--model", str(folder), "--served-model-name", NAME, "--dtype", "float32"]
        command += ["--host", "127.0.0.1", "--port", str(self.port), "--max-model-len", "2048"]
        command += ["--enforce-eager", "--no-enable-chunked-prefill"]
        self.log = log
        self.process = subprocess.Popen(
            command,
            env={
                **os.environ,
                "VLLM_CPU_KVCACHE_SPACE": "1",
                "VLLM_CPU_OMP_THREADS_BIND": str(number % (os.cpu_count() or 1)),
            },
            stdout=log.open("w"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def is_ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()[-3000:]
        try:
            with urllib.request.urlopen(f"{self.url}/models", timeout=2) as reply:
                return bool(reply.status == 200)
        except OSError:
            return False

    def count_finished(self) -> int:
        """Requests that this server has answered, by its own count."""
        with urllib.request.urlopen(self.url.replace("/v1", "/metrics"), timeout=5) as reply:
            lines = reply.read().decode().splitlines()
        return round(
            sum(
                float(line.rsplit(" ", 1)[1])
                for line in lines
                if line.startswith("vllm:request_success_total")
            )
        )

    def kill(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@pytest.fixture(scope="module")
def servers(smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[VllmServer]]:
    logs = tmp_path_factory.mktemp("servers")
    started = [VllmServer(smollm2, logs / f"{i}.log", i) for i in range(2)]
    try:
        wait_for(lambda: all(server.is_ready() for server in started), 400)
        yield started
    finally:
        for server in started:
            server.kill()


def list_servers(servers: list[VllmServer]) -> dict[str, Any]:
    entries = [{"url": server.url, "model": NAME, "concurrency": 16} for server in servers]
    return {"engine": "openai", "servers": entries}


@pytest.mark.parametrize("check", contract.CHECKS, ids=lambda check: check.__name__)
def test_contract(
    check: Callable[[Engine, Path], None], servers: list[VllmServer], smollm2: Path
) -> None:
    options = GenerationOptions.model_validate(list_servers(servers))
    check(
        OpenAIEngine(ModelFolder(name=NAME, folder=smollm2, fingerprint="f"), options, {}), smollm2
    )


def write_conf(project: Path, folder: Path, generation: dict[str, Any]) -> Path:
    """The project's own conf with other generation options, and few enough prompts for a test."""
    shutil.copytree(project / "conf", folder, ignore=shutil.ignore_patterns("local"))
    (folder / "local").mkdir()
    (folder / "smoke").joinpath("models.yml").unlink()
    options = {
        "generation": {"dtype": "float32", **generation},
        "prompt_generation": {"n_prompts": 12, "round_size": 16},
        # Most are answered: of fewer, no two answers may be of like length.
        "prompt_splits": {
            "reward_model": 0.3,
            "held_out": 0.15,
            "held_out_reward_model": 0.3,
            "self_play": 0.1,
            "rl": 0.05,
            "watch": 0.04,
            "policy_test": 0.06,
        },
        "response_generation": {"max_new_tokens": 48},
    }
    (folder / "smoke/parameters.yml").write_text(yaml.safe_dump(options))
    return folder


def check_responses(rows: dict[str, list[dict[str, Any]]]) -> None:
    """All three assistants answered every prompt that comparisons are for."""
    answered = {row["prompt_id"] for row in rows["responses"]}
    assert 0 < len(answered) < 12
    assert len(rows["responses"]) == 3 * len(answered)


def test_the_pipeline_goes_on_when_one_of_two_servers_is_killed(
    servers: list[VllmServer], project: Path, tmp_path: Path
) -> None:
    site = Site(
        tmp_path / "data", project, write_conf(project, tmp_path / "conf", list_servers(servers))
    )
    before = [server.count_finished() for server in servers]
    kedro = site.start()
    wait_for(try_sqlite(lambda: count_cached(site.root) >= 20))
    # Prompts take 16 requests or more: by now, the answers are being written.
    taken = [server.count_finished() - n for server, n in zip(servers, before, strict=True)]
    assert min(taken) > 0, "both servers take part"
    servers[1].kill()
    output, _ = kedro.communicate(timeout=500)
    assert kedro.returncode == 0, output
    rows = site.load()
    assert len(rows["prompts"]) == 12
    check_responses(rows)
    costs = [json.loads(f.read_text()) for f in site.root.glob("*/generation/*/metrics.json")]
    assert sum(cost["requests_generated"] for cost in costs) == count_cached(site.root)

    # Again: everything is in the cache, and one server is asked nothing more.
    finished = servers[0].count_finished()
    output = finish(site)
    assert f"server {servers[1].url} is not ready" in output
    assert servers[0].count_finished() == finished
    assert site.load()["comparisons"] == rows["comparisons"]


@pytest.mark.timeout(900)
def test_the_pipeline_runs_on_vllm_in_the_worker(
    project: Path, smollm2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    site = Site(
        tmp_path / "data", project, write_conf(project, tmp_path / "conf", {"engine": "vllm"})
    )
    kedro = site.start()
    wait_for(try_sqlite(lambda: count_cached(site.root) >= 5), 300)
    kedro.kill()
    kedro.communicate()
    kept = count_cached(site.root)
    time.sleep(1)
    finish(site, timeout=600)
    rows = site.load()
    assert len(rows["prompts"]) == 12
    check_responses(rows)
    costs = [json.loads(f.read_text()) for f in site.root.glob("*/generation/*/metrics.json")]
    assert sum(cost["requests_generated"] for cost in costs) == count_cached(site.root) - kept
    assert len(site.read_count()) == len({row["key"] for row in site.read_count()})
