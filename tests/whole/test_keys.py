"""API keys: from the environment to the server, and nowhere else."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from crash_sites import ServerProcess, Site, write_conf
from waiting import wait_for

pytestmark = pytest.mark.slow

KEY = "sk-0123456789abcdef-secret"
OPTIONS = (
    ",prompt_generation.n_prompts=2,prompt_generation.round_size=16"
    ",response_generation.max_new_tokens=16"
)


@pytest.fixture
def site(project: Path, tiny_models: dict[str, Path], tmp_path: Path) -> Iterator[Site]:
    servers = {
        name: ServerProcess(folder, tmp_path / f"{name}.log", KEY)
        for name, folder in tiny_models.items()
    }
    conf = write_conf(project, servers, tmp_path / "conf", key="default")
    for server in servers.values():
        wait_for(server.is_up)
    yield Site(tmp_path / "data", project, conf, OPTIONS)
    for server in servers.values():
        server.kill()


def test_a_key_is_in_no_file_and_no_output(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALMOST_KEDRO_API_KEY", KEY)
    kedro = site.start()
    output, _ = kedro.communicate(timeout=300)
    assert kedro.returncode == 0, output
    assert KEY not in output
    files = [path for path in site.root.rglob("*") if path.is_file()]
    assert any(path.name == "mlflow.db" for path in files)
    assert any(path.name == "job.json" for path in files)
    for path in files:
        assert KEY.encode() not in path.read_bytes(), path


def test_a_missing_and_a_wrong_key_are_one_clear_line_before_anything_is_generated(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ALMOST_KEDRO_API_KEY", raising=False)
    kedro = site.start()
    output, _ = kedro.communicate(timeout=300)
    assert kedro.returncode == 1
    assert "its key 'default' is empty or missing" in output.splitlines()[-1]

    monkeypatch.setenv("ALMOST_KEDRO_API_KEY", "sk-wrong")
    kedro = site.start()
    output, _ = kedro.communicate(timeout=300)
    assert kedro.returncode == 1
    assert "refuses the key 'default'" in output.splitlines()[-1]
    assert "sk-wrong" not in output
    assert not list(site.root.glob("04_feature/generation/*"))
