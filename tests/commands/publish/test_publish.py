"""`kedro publish` to a hub of its own."""

import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
from heavy_imports import CHECK, run_python
from hub_server import TOKEN, HubServer, Repo, serve_hub
from huggingface_hub import constants
from kedro.framework.context import KedroContext
from kedro.framework.startup import bootstrap_project
from kedro.io import Version
from made_rows import make_comparison, make_splits
from report_findings import make_metrics, make_run
from sessions import make_command

from almost_kedro.cli.project import load_context
from almost_kedro.commands.publish.command import publish
from almost_kedro.contract import ModelFolder
from almost_kedro.datasets.checkpoint import CheckpointDataset
from almost_kedro.datasets.whole_file import JSONFileDataset, RowsDataset, TextFileDataset
from almost_kedro.errors import UserError
from almost_kedro.models.checkpoints import Checkpoint, make_manifest
from almost_kedro.pages.cards import read_head, write_model_card

OLD, NEW = "2026-03-01T10.00.00.000Z", "2026-03-02T10.00.00.000Z"
REPO = "ann/model"


def save_checkpoint(root: Path, name: str, version: str, kind: Any, base: str, model: Path) -> None:
    """Save a model as trained from another, with a path in its options."""
    manifest = make_manifest(
        model,
        kind=kind,
        name=name,
        base=ModelFolder(name=base, folder=None, fingerprint=f"f-{base}"),
        data={},
        options={"cache": f"{root}/04_feature/work.sqlite", "learning_rate": 1e-3},
        metrics={},
        packages={},
    )
    dataset = CheckpointDataset(
        filepath=str(root / "06_models" / name), version=Version(None, version)
    )
    dataset.save(Checkpoint(model, manifest))


def save_document(root: Path, name: str, version: str, document: Any) -> None:
    path = str(root / f"08_reporting/{name}.json")
    JSONFileDataset(filepath=path, version=Version(None, version)).save(document)


@pytest.fixture(scope="module")
def root(tiny_models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with an SFT policy, a reward model, their figures, and comparisons."""
    root = tmp_path_factory.mktemp("root")
    for version in (OLD, NEW):
        model = copytree(tiny_models["tiny-small"], root / f"model-{version}")
        (model / "note.txt").write_text(version)
        save_checkpoint(root, "sft_policy", version, "policy", "tiny-large", model)
        save_checkpoint(root, "reward_model", version, "reward_model", "tiny-large", model)
    # Training states are beside the model, and never part of what is published.
    (root / f"06_models/sft_policy/{NEW}/sft_policy/optimizer").mkdir()
    metrics = make_metrics()
    save_document(root, "reward_model_metrics", NEW, metrics["reward_model_metrics"])
    save_document(root, "gate", NEW, {"passed": False, "reasons": ["too <b>few</b>"]})
    card = root / "08_reporting/model_card.md"
    TextFileDataset(filepath=str(card), version=Version(None, NEW)).save(
        write_model_card(make_run(), metrics)
    )
    rows: dict[str, list[Any]] = {
        "05_model_input/comparisons.jsonl": [make_comparison("c1"), make_comparison("c2")],
        "03_primary/prompt_splits.jsonl": make_splits({"p-c1": "reward_model", "p-c2": "held_out"}),
    }
    for path, each in rows.items():
        RowsDataset(filepath=str(root / path), version=Version(None, NEW)).save(each)
    return root


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A hub, which the library of this process takes for the one."""
    with serve_hub() as server:
        # As HF_ENDPOINT and HF_HUB_DISABLE_XET set them when it is imported.
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield server


@pytest.fixture(scope="module")
def context(project: Path, root: Path) -> KedroContext:
    bootstrap_project(project)
    return load_context(project, "smoke", {"data_root": str(root)})


def run_publish(
    project: Path, root: Path, hub: HubServer | None, *args: str, token: str | None = TOKEN
) -> subprocess.CompletedProcess[str]:
    environment = {
        **{name: value for name, value in os.environ.items() if name != "HF_TOKEN"},
        **({"HF_TOKEN": token} if token else {}),
        # Port 9 is the one that throws away what it gets; nothing listens there.
        "HF_ENDPOINT": hub.url if hub else "http://127.0.0.1:9",
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_OFFLINE": "0",
        "TRANSFORMERS_OFFLINE": "0",
    }
    if "--repo" not in args:
        args = (*args, "--repo", REPO)
    command = make_command("publish", *args, "--env", "smoke", "--params", f"data_root={root}")
    return subprocess.run(
        command, cwd=project, env=environment, capture_output=True, text=True, check=False
    )


def check_that_nothing_tells_where(files: Mapping[str, bytes], root: Path, project: Path) -> None:
    for name, content in files.items():
        for place in (root, project, Path.home()):
            # With a slash: "/root" alone may be a token.
            assert f"{place}/".encode() not in content, name
        assert str(root).encode() not in content, name


def test_a_policy_arrives_byte_for_byte_with_its_card(
    project: Path, root: Path, hub: HubServer
) -> None:
    done = run_publish(project, root, hub, "sft", "--license", "mit", "--private")
    assert done.returncode == 0, done.stderr
    repo = hub.repos[REPO]
    folder = root / f"06_models/sft_policy/{NEW}/sft_policy"
    manifest = json.loads((folder / "manifest.json").read_text())
    assert set(repo.files) == {*manifest["files"], "manifest.json", "README.md"}
    for name in manifest["files"]:
        assert repo.files[name] == (folder / name).read_bytes()
    assert repo.files["note.txt"] == NEW.encode()
    published = json.loads(repo.files["manifest.json"])
    assert published.pop("options") == {"cache": "work.sqlite", "learning_rate": 1e-3}
    assert published == {key: value for key, value in manifest.items() if key != "options"}
    head, body = read_head(repo.files["README.md"].decode())
    assert head["license"] == "mit"
    assert body.startswith("`sft` is the policy in this repository.\n\n# A policy aligned by")
    check_that_nothing_tells_where(repo.files, root, project)
    assert (repo.kind, repo.private) == ("model", True)
    assert repo.commits == [f"sft {NEW}, by almost_kedro"]
    assert done.stdout.splitlines()[-2:] == [
        "licence: mit, by --license; models.yml says unknown of tiny-large",
        f"{hub.url}/{REPO}/commit/{1:040x}",
    ]
    assert TOKEN not in done.stdout + done.stderr


def test_a_second_upload_is_a_second_commit(context: KedroContext, hub: HubServer) -> None:
    for license_id in ("mit", "other"):
        list(publish(context, "reward_model", REPO, license_id))
    repo = hub.repos[REPO]
    assert repo.commits == [f"reward_model {NEW}, by almost_kedro"] * 2
    head, body = read_head(repo.files["README.md"].decode())
    assert head["license"] == "other"
    assert "Right in 60.0% \\[55.0%, 65.0%\\] of 100 comparisons of 60 prompts" in body
    assert "| floor: longer wins | 50.0% \\[45.0%, 55.0%\\] |" in body
    assert "+9.0 points \\[+2.0, +16.0\\] (surface)" in body
    assert "has to pass before it trains a policy: not passed" in body
    assert "- too \\<b\\>few\\</b\\>" in body


def test_comparisons_are_published_as_preferences(context: KedroContext, hub: HubServer) -> None:
    lines = list(publish(context, "comparisons", REPO, "cc-by-4.0"))
    assert lines[-2].startswith(
        "licence: cc-by-4.0, by --license; models that wrote the rows: tiny"
    )
    repo = hub.repos[REPO]
    assert repo.kind == "dataset"
    names = {"data/train-00000-of-00001.parquet", "data/test-00000-of-00001.parquet"}
    assert set(repo.files) == {*names, "README.md"}
    head, _ = read_head(repo.files["README.md"].decode())
    assert head["license"] == "cc-by-4.0"
    assert {each["path"] for each in head["configs"][0]["data_files"]} == names


def test_a_dry_run_lists_the_files_and_needs_no_token(project: Path, root: Path) -> None:
    done = run_publish(project, root, None, "sft", "--license", "mit", "--dry-run", token=None)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    size = (root / f"06_models/sft_policy/{NEW}/sft_policy/model.safetensors").stat().st_size
    assert f"{size:>15,}  model.safetensors" in lines
    assert 'license: "mit"' in lines
    assert lines[-1] == f"nothing was sent (--dry-run); it would go to {REPO}"


def check_line(done: subprocess.CompletedProcess[str], message: str) -> None:
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert TOKEN not in done.stdout + done.stderr
    assert "\x1b" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith(f"Error: {message}")


def test_a_wrong_token_is_one_line_and_is_not_shown(
    project: Path, root: Path, hub: HubServer
) -> None:
    done = run_publish(project, root, hub, "sft", "--license", "mit", token="hf_wrong")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        f"Error: {hub.url} does not know the token (401); see whether it is whole and valid"
    )
    assert "Traceback" not in done.stderr
    assert "hf_wrong" not in done.stdout + done.stderr
    assert hub.repos == {}


@pytest.mark.parametrize(
    ("part", "status", "message"),
    [
        (
            "/commit/",
            403,
            "the token may not write to ann/model (403); give it that right at {url}",
        ),
        (
            "/objects/",
            403,
            "the token may not write to ann/model (403); give it that right at {url}",
        ),
        (
            "/preupload/",
            413,
            "{url} refuses ann/model (413): You don't have the rights \\x1b[31mto",
        ),
    ],
)
def test_what_the_hub_refuses_is_said(
    part: str, status: int, message: str, context: KedroContext, hub: HubServer
) -> None:
    hub.refusals = {part: status}
    with pytest.raises(UserError, match=f"^{re.escape(message.format(url=hub.url))}"):
        list(publish(context, "sft", REPO, "mit"))
    assert hub.repos[REPO].files == {}


def test_a_hub_that_is_not_there_is_named(
    context: KedroContext, hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The port of what is thrown away; nothing listens there.
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    message = (
        r"^ann/model was not published: http://127\.0\.0\.1:9 can't be reached \(ConnectError: "
    )
    with pytest.raises(UserError, match=message):
        list(publish(context, "sft", REPO, "mit"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match=r"^HF_HUB_OFFLINE is set, so nothing is uploaded"):
        list(publish(context, "sft", REPO, "mit"))


def test_what_is_public_is_not_taken_for_private(context: KedroContext, hub: HubServer) -> None:
    hub.repos[REPO] = Repo("model", private=False)
    message = "^--private: ann/model is there and is public; make it private on its settings page"
    with pytest.raises(UserError, match=message):
        list(publish(context, "sft", REPO, "mit", private=True))
    assert hub.repos[REPO].files == {}


@pytest.mark.parametrize(
    ("name", "how", "message"),
    [
        (
            "ppo",
            {},
            "'ppo' can't be published; there are sft, rl, reward_model, held_out_reward_mod",
        ),
        ("sft", {"repo": "model"}, "--repo model: give USER/NAME, or ORGANISATION/NAME"),
        ("sft", {"repo": "a/../b"}, "--repo a/../b: give USER/NAME, or ORGANISATION/NAME"),
        (
            "sft",
            {"license_id": None},
            "models.yml states no licence of tiny-large, from which this",
        ),
        ("rl", {}, "rl_policy was never trained: nothing in"),
        ("held_out_reward_model", {}, "held_out_reward_model was never trained: nothing in"),
        (
            "comparisons",
            {"license_id": None},
            "the licence of rows depends on the models that wrote them (tiny-large: unknown, ",
        ),
        (
            "sft",
            {"version": OLD},
            f"sft_policy: there is no model_card of version {OLD}, which its card needs; run "
            "`kedro run --pipeline evaluation` first",
        ),
        (
            "reward_model",
            {"version": OLD},
            f"reward_model: there is no reward_model_metrics of version {OLD}, which its card",
        ),
    ],
)
def test_what_can_not_be_published_is_named_before_anything_is_sent(
    name: str, how: dict[str, Any], message: str, context: KedroContext, hub: HubServer
) -> None:
    options = {"repo": REPO, "license_id": "mit", **how}
    with pytest.raises(UserError, match=f"^{re.escape(message)}"):
        list(publish(context, name, **options))
    assert hub.asked == []


@pytest.mark.parametrize(
    ("token", "message"),
    [
        (None, "there is no token for the hub; make one with the right to write at https://"),
        (" ", "there is no token for the hub; make one with the right to write at https://"),
        ("hf_a\nb", "the token for the hub has characters that none has; set HF_TOKEN, or write"),
        ("hf_é", "the token for the hub has characters that none has; set HF_TOKEN, or write"),
    ],
)
def test_without_a_token_nothing_is_sent(
    token: str | None,
    message: str,
    context: KedroContext,
    hub: HubServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if token is None:
        monkeypatch.delenv("HF_TOKEN")
    else:
        monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(UserError, match=f"^{re.escape(message)}") as caught:
        list(publish(context, "sft", REPO, "mit"))
    assert "conf/smoke/credentials.yml" in str(caught.value)
    assert "hf_" not in str(caught.value)
    assert hub.asked == []


def test_it_imports_nothing_heavy(project: Path, root: Path) -> None:
    run_python(
        f"""
from pathlib import Path
from kedro.framework.startup import bootstrap_project
from almost_kedro.cli.project import load_context
from almost_kedro.commands.publish.command import publish
bootstrap_project(Path({str(project)!r}))
context = load_context(Path({str(project)!r}), "smoke", {{"data_root": {str(root)!r}}})
assert list(publish(context, "sft", {REPO!r}, "mit", dry_run=True))
assert list(publish(context, "comparisons", {REPO!r}, "mit", dry_run=True))
{CHECK}
assert "datasets" not in sys.modules
""",
        project,
    )


def test_a_changed_checkpoint_is_not_published(
    project: Path, root: Path, hub: HubServer, tmp_path: Path
) -> None:
    copytree(root, tmp_path / "root")
    file = tmp_path / f"root/06_models/sft_policy/{NEW}/sft_policy/note.txt"
    file.write_text(NEW.replace("2", "3"))
    bootstrap_project(project)
    context = load_context(project, "smoke", {"data_root": str(tmp_path / "root")})
    with pytest.raises(UserError, match=r"note\.txt has changed \(its sha256\)"):
        list(publish(context, "sft", REPO, "mit"))
    assert hub.asked == []
