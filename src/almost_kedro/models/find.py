"""From a model's name to a folder on this machine, checked before anything runs on it.

This module never imports torch. The child program `models.builder` does what needs torch:
dequantising, drawing tiny models.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from almost_kedro.contract import ModelFolder
from almost_kedro.errors import UserError
from almost_kedro.models.checks.check import check_model
from almost_kedro.models.checks.job import Use
from almost_kedro.models.entries import find_entry, has_weights, read_manifest
from almost_kedro.models.fetch import download_from_hub, get_model
from almost_kedro.models.files import check_model_folder, check_tokenizer_folder
from almost_kedro.models.fingerprints import fingerprint_folder
from almost_kedro.options.models import (
    FolderModel,
    HubModel,
    ModelEntry,
    ServerModel,
    TinyModel,
    WheelModel,
)


def resolve_model(
    name: str, models: Mapping[str, ModelEntry], store: Path, use: Use = "embedded"
) -> ModelFolder:
    """Find a model on this machine and check it; make it first if it is a tiny random one.

    `store` is the folder of the models that were fetched or made here. Raises UserError if the
    model is unknown or not here, or if something is wrong with its files.
    """
    if isinstance(find_entry(name, models), TinyModel):
        get_model(name, models, store)
    model = locate_model(name, models, store)
    if model.folder:
        check_model(model, has_weights(models[name]), store, use)
    return model


def locate_model(name: str, models: Mapping[str, ModelEntry], store: Path) -> ModelFolder:
    """Find a model on this machine as `resolve_model` does; make nothing, run no program.

    Raises UserError if it is unknown or not here, or if a file is missing or can't be read.
    """
    entry = find_entry(name, models)
    folder: Path | None
    pad_token = None
    match entry:
        case WheelModel() | TinyModel():
            folder = store / name
            manifest = read_manifest(folder, entry)
            if manifest is None:
                accept = " --accept-terms" if isinstance(entry, WheelModel) and entry.terms else ""
                raise UserError(
                    f"model {name!r}: not in {store} as models.yml describes it; run `kedro models "
                    f"get {name}{accept}`, with the same --env"
                )
            check_model_folder(name, folder)
            fingerprint = manifest["fingerprint"]
        case FolderModel():
            folder, pad_token = Path(entry.path), entry.pad_token
            check_model_folder(name, folder)
            fingerprint = fingerprint_folder(name, folder)
        case HubModel():
            folder, pad_token = download_from_hub(name, entry, local_only=True), entry.pad_token
            check_model_folder(name, folder)
            # The folder of a hub snapshot is named after its commit.
            fingerprint = f"{entry.id}@{folder.name}"
        case ServerModel():
            folder = Path(entry.tokenizer) if entry.tokenizer else None
            if folder:
                check_tokenizer_folder(name, folder)
            fingerprint = f"server:{entry.id}@{entry.revision}{'/chat' if entry.chat else ''}"
    return ModelFolder(
        name=name,
        folder=folder,
        fingerprint=fingerprint,
        bos=entry.bos,
        trust_remote_code=entry.trust_remote_code,
        chat=isinstance(entry, ServerModel) and entry.chat,
        pad_token=pad_token,
    )


def list_models(models: Mapping[str, ModelEntry], store: Path) -> list[tuple[str, str, str]]:
    """Return name, source and state of every model in models.yml."""
    rows: list[tuple[str, str, str]] = []
    for name, entry in models.items():
        try:
            located = locate_model(name, models, store)
            state = str(located.folder) if located.folder else "on servers"
        except UserError as exc:
            state = str(exc).split(": ", 1)[1]
        rows.append((name, entry.source, state))
    return rows
