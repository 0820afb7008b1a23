"""Uploads to the Hugging Face hub in one commit, and says in one line why that failed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from huggingface_hub import CommitOperationAdd, HfApi

# Of its HTTP client, which is another one in other versions.
from huggingface_hub.errors import (  # type: ignore[attr-defined]
    HfHubHTTPError,
    HTTPError,
    OfflineModeIsEnabled,
)
from kedro.framework.context import KedroContext
from pydantic import SecretStr

from almost_kedro.commands.publish.publication import Publication
from almost_kedro.errors import UserError
from almost_kedro.processes.locks import DISK_ERRORS
from almost_kedro.rows.visible_text import make_line

REPO = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
E = TypeVar("E", bound=BaseException)
# Characters of what the hub said that an error shows.
SHOWN = 200


def check_repo(repo: str) -> None:
    """Raise UserError for what can be no repository's name."""
    if not REPO.fullmatch(repo) or "--" in repo or ".." in repo or len(repo) > 96:
        raise UserError(f"--repo {make_line(repo)}: give USER/NAME, or ORGANISATION/NAME")


def read_token(context: KedroContext) -> SecretStr:
    """Read the hub's token from credentials.yml, which takes it from HF_TOKEN.

    No other one is used, such as that of `hf auth login`. Raises UserError if there is none.
    """
    found: Mapping[str, Any] = context.config_loader["credentials"].get("hub") or {}
    token = str(found.get("token") or "").strip()
    file = f"conf/{context.env or 'local'}/credentials.yml"
    where = f"set HF_TOKEN, or write `hub: {{token: ...}}` into {file}"
    if not token:
        raise UserError(
            f"there is no token for the hub; make one with the right to write at "
            f"https://huggingface.co/settings/tokens, then {where}"
        )
    if not token.isascii() or not token.isprintable() or " " in token:
        raise UserError(f"the token for the hub has characters that none has; {where}")
    return SecretStr(token)


def upload(publication: Publication, repo: str, token: SecretStr, private: bool) -> str:
    """Upload all files in one commit and return its address.

    A repository that is not there is made. In one with files, those of the same name are replaced
    and the others stay.

    Raises UserError if that fails; then nothing of the commit is there.
    """
    api = HfApi(token=token.get_secret_value(), library_name="almost_kedro")
    kind = publication.repo_type
    with one_line_of_the_hub(api.endpoint, repo):
        api.create_repo(repo, repo_type=kind, private=private or None, exist_ok=True)
        if private and not api.repo_info(repo, repo_type=kind).private:
            raise UserError(
                f"--private: {repo} is there and is public; make it private on its settings page, "
                "or take another --repo"
            )
        commit = api.create_commit(
            repo,
            [CommitOperationAdd(name, file) for name, file in publication.files.items()],
            commit_message=f"{publication.title}, by almost_kedro",
            repo_type=kind,
        )
    return str(commit.commit_url)


@contextmanager
def one_line_of_the_hub(endpoint: str, repo: str) -> Iterator[None]:
    """Turn what the hub, or the way to it, refuses into a UserError."""
    try:
        yield
    except UserError:
        raise
    except Exception as exc:
        if isinstance(exc, OSError) and exc.errno in DISK_ERRORS:
            raise  # of our own files
        raise UserError(explain(exc, endpoint, repo)) from exc


def explain(exc: BaseException, endpoint: str, repo: str) -> str:
    """Say why an upload failed; what the hub wrote is shown harmless and short."""
    reply = find_cause(exc, HfHubHTTPError)
    if reply is None:
        if find_cause(exc, OfflineModeIsEnabled):
            return "HF_HUB_OFFLINE is set, so nothing is uploaded; unset it"
        reason = f"{type(exc).__name__}: {_first_line(exc):.{SHOWN}}"
        if find_cause(exc, HTTPError):
            return make_line(
                f"{repo} was not published: {endpoint} can't be reached ({reason}); see to the "
                "network, and to HF_ENDPOINT"
            )
        return make_line(f"{repo} was not published: {endpoint} answers otherwise ({reason})")
    status = reply.response.status_code
    match status:
        case 401:
            return f"{endpoint} does not know the token (401); see whether it is whole and valid"
        case 403:
            return (
                f"the token may not write to {repo} (403); give it that right at "
                f"{endpoint}/settings/tokens, or name a repository of yours"
            )
    said = reply.server_message or _first_line(reply)
    return make_line(f"{endpoint} refuses {repo} ({status}): {said:.{SHOWN}}; see its page there")


def find_cause(exc: BaseException | None, kind: type[E]) -> E | None:
    """Return the first of a kind among an error and its causes; uploads wrap what went wrong."""
    while exc:
        if isinstance(exc, kind):
            return exc
        exc = exc.__cause__
    return None


def _first_line(exc: BaseException) -> str:
    return (str(exc).strip().splitlines() or [""])[0]
