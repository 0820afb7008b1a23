"""`kedro publish` to a hub of its own."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from heavy_imports import CHECK, run_python
from hub_server import TOKEN, HubServer
from kedro.framework.context import KedroContext
from publications import NEW, REPO, run_publish

from almost_kedro.commands.publish.command import publish
from almost_kedro.pages.cards import read_head


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


def test_a_dry_run_lists_the_files_and_needs_no_token(
    context: KedroContext, root: Path, hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    lines = list(publish(context, "sft", REPO, "mit", dry_run=True))
    size = (root / f"06_models/sft_policy/{NEW}/sft_policy/model.safetensors").stat().st_size
    assert f"{size:>15,}  model.safetensors" in lines
    assert 'license: "mit"' in lines
    assert lines[-1] == f"nothing was sent (--dry-run); it would go to {REPO}"
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
