"""What is not published, and what the hub refuses."""

import re
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
from hub_server import HubServer, Repo
from huggingface_hub import constants
from kedro.framework.context import KedroContext
from kedro.framework.startup import bootstrap_project
from publications import NEW, OLD, REPO, run_publish

from almost_kedro.cli.project import load_context
from almost_kedro.commands.publish.command import publish
from almost_kedro.errors import UserError


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
            "'ppo' can't be published; there are sft, rl, dpo, reward_model, held_out_rewa",
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


def test_without_a_token_the_command_ends_with_one_line(
    project: Path, root: Path, hub: HubServer
) -> None:
    done = run_publish(project, root, hub, "sft", "--license", "mit", token="")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("Error: there is no token for the hub; make one")
    assert "Traceback" not in done.stderr
    assert hub.asked == []


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
