"""A path means the same from everywhere."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import nbformat
import pytest
from made_rows import make_prompt
from nbclient import NotebookClient
from pydantic import BaseModel

from almost_kedro.errors import UserError
from almost_kedro.options.all import Options
from almost_kedro.places import PATHS, PATHS_OR_IDS, check_roots, resolve_paths

# Strings of options that name something else than a path of ours.
NO_PATHS = {
    "mlflow_uri",  # a URI, which may have a path in it: below
    "models.*.id",
    "models.*.revision",
    "models.*.packages",
    "models.*.members",
    "models.*.sha256",
    "models.*.pad_token",
    "models.*.license",
    "models.*.terms",
    "generation.servers.url",
    "generation.servers.model",
    "generation.servers.served_as",
    "generation.servers.key",
    "prompt_generation.model",
    "response_generation.assistants.model",
    "response_generation.assistants.demonstrations",
    "comparisons.rubric",
    "launch.main_address",
    "launch.slurm.partition",
    "launch.slurm.account",
    "launch.slurm.time_limit",
    "launch.slurm.memory",
    "launch.slurm.options.*",
    "as_is_filter.hub_dataset",
    "as_is_filter.hub_split",
    "reward_model.model",
    "self_play.user_demonstrations",
    "sft.model",
    "dpo.model",
    "rl.vllm_server",
    "evaluation.judge",
    "reward_model.ensemble",
    "contrasts.*",
    *(f"{block}.lora.targets" for block in ("reward_model", "sft", "rl", "dpo")),
}


def list_texts(kind: Any, name: str = "") -> Iterator[str]:
    """Every option that can be a text, by its name; a star is any name."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        for field, info in kind.model_fields.items():
            inner = name if field == "root" else f"{name}.{field}".strip(".")
            yield from list_texts(info.annotation, inner)
    elif kind is str:
        yield name
    elif getattr(kind, "__origin__", None) is dict:
        yield from list_texts(get_args(kind)[1], f"{name}.*")
    elif repr(kind).startswith("typing.Literal"):
        return
    else:
        for each in get_args(kind):
            yield from list_texts(each, name)


def test_every_option_that_is_a_path_is_known() -> None:
    """A new option of text is either taken from the project's folder, or listed above."""
    assert set(list_texts(Options)) == {*PATHS, *PATHS_OR_IDS, *NO_PATHS}


@pytest.mark.parametrize(
    ("option", "value", "resolved"),
    [
        *[(option, "some/where", "/project/some/where") for option in PATHS],
        *[(option, "/some/where", "/some/where") for option in PATHS],
        *[(option, word, word) for option, words in PATHS.items() for word in words],
        ("models.*.path", "~/models", str(Path.home() / "models")),
        ("models.*.tokenizer", None, None),
        ("as_is_filter.pairs", None, None),
        ("data_root", "data/", "/project/data"),
        ("prompt_generation.wordpiece", "google-bert/bert-base-uncased", None),
        ("prompt_generation.wordpiece", "/etc", "/etc"),
        ("mlflow_uri", None, None),
        ("mlflow_uri", "http://host:5000", "http://host:5000"),
        ("mlflow_uri", "sqlite:///runs/mlflow.db", "sqlite:////project/runs/mlflow.db"),
        ("mlflow_uri", "sqlite:////runs/mlflow.db", "sqlite:////runs/mlflow.db"),
    ],
)
def test_paths_of_options_are_the_projects(option: str, value: Any, resolved: Any) -> None:
    def nest(text: Any) -> Any:
        nested = text
        for name in reversed(option.replace("*", "mine").split(".")):
            nested = {name: nested}
        return nested

    given = nest(value)
    wanted = value if option in PATHS_OR_IDS and resolved is None else resolved
    assert resolve_paths(given, Path("/project")) == nest(wanted)
    assert given == nest(value)  # inputs are not changed


def test_a_folder_in_the_project_is_no_hub_id(tmp_path: Path) -> None:
    (tmp_path / "bert").mkdir()
    [block] = resolve_paths({"prompt_generation": {"wordpiece": "bert"}}, tmp_path).values()
    assert block == {"wordpiece": str(tmp_path / "bert")}


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"data_root": "mine"}, "option data_root: parameters.* set it to 'mine', .* says 'data'"),
        ({"assets_root": "mine"}, "option assets_root: .* set it in conf/<env>/globals.yml, or by"),
        ({"data_root": "~/x"}, "option data_root: '~/x' begins with ~; give the whole path"),
    ],
)
def test_a_root_that_would_be_two_folders_is_refused(
    parameters: dict[str, str], message: str
) -> None:
    roots = {"data_root": "data", "assets_root": "assets"}
    given = parameters if "~" in str(parameters) else {}
    with pytest.raises(UserError, match=message):
        check_roots({**roots, **parameters}, roots, given)


@pytest.fixture(scope="module")
def copy(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of its own, with rows, a model folder and an MLflow store in it."""
    folder = tmp_path_factory.mktemp("copy") / "project"
    for name in ("conf", "src", "assets"):
        shutil.copytree(project / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(project / "pyproject.toml", folder)
    (folder / "conf/local").mkdir(exist_ok=True)
    (folder / "notebooks/deep").mkdir(parents=True)
    rows = folder / "rows/03_primary/prompts.jsonl/v1/prompts.jsonl"
    rows.parent.mkdir(parents=True)
    rows.write_text(json.dumps(make_prompt("p1")) + "\n")
    model = folder / "models/mine"
    model.mkdir(parents=True)
    (model / "config.json").write_text('{"model_type": "llama"}')
    (model / "model.safetensors").write_bytes(b"")
    return folder


def call(copy: Path, where: str, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "PYTHONPATH": str(copy / "src"),
        # As `make` sets it for the environment.
        "KEDRO_LOGGING_CONFIG": str(copy / "conf/logging.yml"),
    }
    return subprocess.run(
        [sys.executable, *command],
        cwd=copy / where,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


ROOT = ("--env", "smoke", "--params", "data_root=rows")


def test_rows_are_json_lines_and_nothing_else(copy: Path) -> None:
    done = call(copy, "notebooks/deep", "-m", "kedro", "rows", "prompts", *ROOT)
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["prompt_id"] for line in done.stdout.splitlines()] == ["p1"]


def test_logs_do_not_reach_rows_where_make_did_not_set_the_environment(copy: Path) -> None:
    """Kedro says one line before the project is asked; no other line is on stdout."""
    script = "import os, sys; os.environ.pop('KEDRO_LOGGING_CONFIG'); from kedro.framework.cli"
    script += " import main; sys.stdout.write('\\n--\\n'); main()"
    done = call(copy, "notebooks", "-c", script, "rows", "prompts", *ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.partition("--\n")[2].count("\n") == 1


def test_make_says_to_python_where_logging_is_configured(project: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    python = tmp_path / "venv/bin/python"
    (tmp_path / "Makefile").write_text(
        f"include {project}/Makefile\nsay:\n\t{python} $(SAY_LOGGING)\n"
    )
    subprocess.run(["make", "--file", tmp_path / "Makefile", "say"], cwd=project, check=True)
    show = "import os; print(os.environ['KEDRO_LOGGING_CONFIG'])"
    for given, found in ((None, f"{project}/conf/logging.yml"), ("mine.yml", "mine.yml")):
        environment = {k: v for k, v in os.environ.items() if k != "KEDRO_LOGGING_CONFIG"}
        environment |= {"KEDRO_LOGGING_CONFIG": given} if given else {}
        done = subprocess.run(
            [python, "-c", show], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.stdout == f"{found}\n", done.stderr


SCRIPT = """
import json, pathlib, sys
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
bootstrap_project(sys.argv[1])
params = {"data_root": "rows", "mlflow_uri": "sqlite:///runs.db",
          "as_is_filter": {"enabled": True, "pairs": "pairs.jsonl"},
          "models": {"mine": {"source": "folder", "path": "models/mine"}}}
with KedroSession.create(sys.argv[1], env="smoke", runtime_params=params) as session:
    context = session.load_context()
    options = context.catalog.load("parameters")
    names = ("mlflow_store", "benchmark_assets")
    place = context.catalog.load("workplace")
    print(json.dumps({
        "root": options["data_root"], "uri": options["mlflow_uri"],
        "assets": options["assets_root"],
        "pairs": context.catalog.load("params:as_is_filter").pairs,
        "model": context.catalog.load("params:models")["mine"]["path"],
        "row": context.catalog.load("prompts")[0]["prompt_id"],
        "shown": sorted(context.catalog.load("demonstrations"))[:1],
        "model_store": str(place.models), "generation_work": str(place.generation),
        **{name: str(context.catalog.load(name)) for name in names},
    }))
"""


def test_a_session_opened_from_elsewhere_means_the_same_files(copy: Path) -> None:
    done = call(copy, "..", "-c", SCRIPT, str(copy))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "root": f"{copy}/rows",
        "uri": f"sqlite:///{copy}/runs.db",
        "assets": f"{copy}/assets",
        "pairs": f"{copy}/pairs.jsonl",
        "model": f"{copy}/models/mine",
        "row": "p1",
        "shown": ["Candid"],
        "model_store": f"{copy}/data/01_raw/models",
        "generation_work": f"{copy}/rows/04_feature/generation",
        "mlflow_store": f"{copy}/rows/08_reporting/mlflow",
        "benchmark_assets": f"{copy}/assets/benchmarks",
    }
    assert [path.name for path in copy.parent.iterdir()] == [copy.name]


@pytest.mark.slow
def test_a_notebook_in_its_folder_means_the_same_files(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(copy / "src"))
    cells = [
        "%load_ext kedro.ipython",
        "%reload_kedro --env smoke --params data_root=rows",
        "print(catalog.load('prompts')[0]['prompt_id'], catalog.load('parameters')['data_root'])",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    resources = {"metadata": {"path": copy / "notebooks"}}
    NotebookClient(notebook, timeout=300, resources=resources).execute()
    printed = [each.text for each in notebook.cells[2].outputs if each.get("name") == "stdout"]
    assert "".join(printed) == f"p1 {copy}/rows\n"


COMMANDS = """
import sys
from pathlib import Path
from kedro.framework.cli.cli import KedroCLI
from kedro.utils import find_kedro_project
for command in sys.argv[1:]:
    print("#", command)
    try:
        KedroCLI(project_path=find_kedro_project(Path.cwd())).main(command.split())
    except SystemExit as exc:
        print("status", exc.code, flush=True)
"""
HOLD = (
    "import pathlib, sys; from almost_kedro.processes.locks import RootLock; "
    "lock = RootLock(); lock.acquire(pathlib.Path('rows')); print(flush=True); sys.stdin.read()"
)


def test_every_command_means_the_same_files_in_a_folder_below(copy: Path) -> None:
    """Whoever locked the data root from the project's folder keeps it from them."""
    shutil.copytree(copy / "conf/smoke", copy / "conf/mine")
    models = (copy / "conf/smoke/models.yml").read_text()
    models += "  mine: {source: folder, path: models/mine}\n"
    (copy / "conf/mine/models.yml").write_text(models)
    root = "--env mine --params data_root=rows"
    messages = {
        f"run --pipeline reward_model {root}": "in use by another run",
        f"cache repair {root}": "in use by another run",
        f"trace p2 {root}": f"below data_root {copy}/rows (environment mine)",
        f"compare latest latest {root}": f"below data_root {copy}/rows (environment mine)",
        f"compare ./rows@latest latest {root}": f"below data_root {copy}/rows (environment mine)",
        # Both look it over: it has no tokenizer.
        "models list --env mine": f"in {copy}/models/mine;",
        "models get mine --env mine": f"in {copy}/models/mine;",
    }
    with subprocess.Popen(
        [sys.executable, "-c", HOLD],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy / "src")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        script = COMMANDS.replace("import sys", "import sys; sys.stderr = sys.stdout", 1)
        done = call(copy, "notebooks", "-c", script, *messages)
        holder.communicate("")
    said = done.stdout.split("# ")[1:]
    assert len(said) == len(messages), done.stdout + done.stderr
    for answer, message in zip(said, messages.values(), strict=True):
        assert message in answer
    assert sorted(path.name for path in (copy / "notebooks").iterdir()) == ["deep"]
