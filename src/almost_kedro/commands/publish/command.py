"""`kedro publish`: gathers files, looks them over, and uploads them in one commit."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kedro.framework.context import KedroContext
from kedro.io import DataCatalog

from almost_kedro.commands.checkpoints import POLICIES, REWARD_MODELS
from almost_kedro.commands.export.command import export_rows
from almost_kedro.commands.publish.hub import check_repo, read_token, upload
from almost_kedro.commands.publish.licenses import choose_data_license
from almost_kedro.commands.publish.models import prepare_policy, prepare_reward_model
from almost_kedro.commands.publish.publication import (
    CARD,
    Publication,
    list_files,
    refuse_places,
    show_head,
)
from almost_kedro.errors import UserError
from almost_kedro.options.all import check_options
from almost_kedro.pages.cards import list_licenses, read_head, write_head
from almost_kedro.rows.json_lines import encode

COMPARISONS = "comparisons"
NAMES = (*POLICIES, *REWARD_MODELS, COMPARISONS)


def publish(
    context: KedroContext,
    name: str,
    repo: str,
    license_id: str | None = None,
    private: bool = False,
    dry_run: bool = False,
    version: str | None = None,
) -> Iterator[str]:
    """Publish what a run made; yield lines that say what is done.

    Raises UserError for what is missing, before anything is sent, and for what the hub refuses.
    """
    check_repo(repo)
    token = None if dry_run else read_token(context)
    catalog = context.catalog
    assert isinstance(catalog, DataCatalog)
    with prepare(catalog, name, version, license_id) as publication:
        refuse_places(publication.files, find_places(catalog, Path(context.project_path)))
        yield from list_files(publication.files)
        yield publication.license_note
        if token is None:
            yield from show_head(publication.card)
            yield f"nothing was sent (--dry-run); it would go to {repo}"
        else:
            yield upload(publication, repo, token, private)


@contextmanager
def prepare(
    catalog: DataCatalog, name: str, version: str | None, license_id: str | None
) -> Iterator[Publication]:
    """Gather the files of what is to be published; they are there as long as the block runs."""
    options = check_options(catalog.load("parameters")).model_dump(mode="json")
    if name in POLICIES:
        yield prepare_policy(catalog, name, version, license_id, options["models"])
    elif name in REWARD_MODELS:
        yield prepare_reward_model(catalog, name, version, license_id, options["models"])
    elif name == COMPARISONS:
        license_id, note = choose_data_license(license_id, list_licenses(options))
        with tempfile.TemporaryDirectory(prefix="almost_kedro-") as folder:
            yield prepare_comparisons(catalog, Path(folder) / name, version, license_id, note)
    else:
        raise UserError(f"{name!r} can't be published; there are {', '.join(NAMES)}")


def prepare_comparisons(
    catalog: DataCatalog, folder: Path, version: str | None, license_id: str, note: str
) -> Publication:
    """Export the comparisons as preferences, and state the licence in their card."""
    exported = export_rows(catalog, COMPARISONS, "preference", folder, version)
    head, body = read_head((folder / CARD).read_text(encoding="utf-8"))
    files: dict[str, Any] = {file: folder / file for file in exported.files.values()}
    files[CARD] = encode(write_head({**head, "license": license_id}, body))
    return Publication("dataset", f"{COMPARISONS} {exported.version}", files, note)


def find_places(catalog: DataCatalog, project: Path) -> list[Path]:
    """Return the folders of this machine that nothing published may name."""
    root = project / catalog.load("parameters")["data_root"]
    return [root, catalog.load("workplace").models, project, Path.home()]
