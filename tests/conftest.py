import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from sessions import ALIGNMENT, run_pipeline

from almost_kedro.models.fetch import get_model
from almost_kedro.options.models import Models
from almost_kedro.processes import tracking

if "PYTEST_XDIST_WORKER" not in os.environ:
    # Reads the variable below when it is imported: a single process of pytest keeps its threads.
    import torch  # noqa: F401
# Child processes run tiny models: these gain nothing from threads, and lose much where others
# compute, too.
os.environ.setdefault("OMP_NUM_THREADS", "1")
PROJECT = Path(__file__).parents[1]
STORE = PROJECT / "data/01_raw/models"


def pytest_report_header() -> str:
    """Say what this run can test: another processor has other instructions."""
    from instruction_sets import list_levels, name_level

    return f"numbers: float32 and bfloat16 by {name_level()}, of {', '.join(list_levels())}"


@pytest.hookimpl(trylast=True)  # when what is not to run is gone
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order modules for two processes, which take the next one each.

    First comes one that makes all of the run, beside which the other process tests what needs none.
    These come from the end, as those that take long are there. The others that need the run come
    last: it is there by then, and nobody waits for it.
    """
    paths = list(dict.fromkeys(item.path for item in items))

    def list_users(fixture: str) -> list[Path]:
        return [item.path for item in items if fixture in getattr(item, "fixturenames", ())]

    makers = [*list_users("evaluated"), *list_users("aligned")]
    first, needing = next(iter(makers), None), set(makers)
    places = {path: -place for place, path in enumerate(paths)}
    items.sort(key=lambda i: (i.path != first, i.path in needing, places[i.path]))


@pytest.fixture(scope="session")
def project() -> Path:
    return PROJECT


@pytest.fixture(scope="session")
def smoke_models() -> Models:
    text = (PROJECT / "conf/smoke/models.yml").read_text()
    return Models.model_validate(yaml.safe_load(text)["models"])


@pytest.fixture(scope="session")
def tiny_models(smoke_models: Models) -> dict[str, Path]:
    """The two random models of the smoke environment, made on the spot."""
    return {name: get_model(name, smoke_models.root, STORE) for name in smoke_models.root}


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """The default model, which `make test` fetches."""
    folder = STORE / "smollm2-135m"
    if not (folder / "almost_kedro.json").is_file():
        pytest.fail("run `kedro models get smollm2-135m` first, as `make test` does")
    return folder


@pytest.fixture(scope="session")
def made_alignment(
    project: Path, tiny_models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A data root with an RL policy and all before it, which no test changes."""

    def make(root: Path) -> None:
        done = run_pipeline(project, root, ",".join(ALIGNMENT))
        assert done.returncode == 0, done.stdout + done.stderr

    return make_once("alignment", make, tmp_path_factory)


@pytest.fixture(scope="session")
def made_evaluation(
    project: Path, made_alignment: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """As the one before, with everything, by a process of its own.

    `log` has what the evaluation said, `seconds` what it took.
    """

    def make(root: Path) -> None:
        shutil.copytree(made_alignment, root)
        start = time.monotonic()
        done = run_pipeline(project, root, "evaluation")
        assert done.returncode == 0, done.stdout + done.stderr
        (root / "seconds").write_text(str(time.monotonic() - start))
        (root / "log").write_text(done.stdout + done.stderr)

    return make_once("evaluation", make, tmp_path_factory)


@pytest.fixture(scope="session", autouse=True)
def one_mlflow_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Runs in this process get copies of one MLflow store: making one takes seconds."""
    make = tracking.make_store

    def copy(file: Path) -> None:
        shutil.copy(make_once("store", make, tmp_path_factory), file)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tracking, "make_store", copy)
        yield


@pytest.fixture(scope="module")
def aligned(made_alignment: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A module's own copy of a data root with an RL policy and all before it."""
    return Path(shutil.copytree(made_alignment, tmp_path_factory.mktemp("aligned") / "data"))


@pytest.fixture(scope="module")
def evaluated(made_evaluation: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A module's own copy of a data root with everything."""
    return Path(shutil.copytree(made_evaluation, tmp_path_factory.mktemp("evaluated") / "data"))


def make_once(
    name: str, make: Callable[[Path], None], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return a data root that the first process makes and all share."""
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / f"{name}-made"
    shared.mkdir(exist_ok=True)
    with (shared / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (shared / "done").exists():
            make(shared / "data")
            (shared / "done").touch()
    return shared / "data"


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A test skipped for want of its program shows nothing: its `make` target fails with it."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    alone = session.config.option.markexpr in ("harness", "slurm", "vllm")
    # A module that is skipped as a whole has no keywords.
    shown = any("browser" in getattr(report, "keywords", ()) for report in skipped)
    if skipped and (alone or shown):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
