"""A trained model in a folder, with a manifest of what it was made from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tokenizers import Tokenizer

from almost_kedro.errors import UserError
from almost_kedro.generation.job import ModelFolder

MANIFEST = "manifest.json"
CONFIG = "config.json"
TOKENIZER = "tokenizer.json"
WEIGHTS = ".safetensors"
WEIGHTS_INDEX = "model.safetensors.index.json"
# Pickled weights and trainer states can run code when opened.
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")


@dataclass(frozen=True)
class Checkpoint:
    """A trained model.

    Attributes:
        folder: Its files.
        manifest: What `make_manifest` returned. `hooks.ManifestHook` puts the versions of its
            parents and the commit in before it is saved.
    """

    folder: Path
    manifest: dict[str, Any]


def make_manifest(
    folder: Path,
    *,
    kind: Literal["reward_model", "policy"],
    name: str,
    base: ModelFolder,
    data: Mapping[str, str],
    options: Mapping[str, Any],
    metrics: Mapping[str, Any],
    packages: Mapping[str, str],
) -> dict[str, Any]:
    """Describe a trained model.

    Args:
        folder: Its files; folders in it are not part of it.
        kind: What it is.
        name: What errors and plans call it.
        base: The model that it was trained from.
        data: What it was trained on, with digests.
        options: Options of its training.
        metrics: How well it did.
        packages: Versions of the packages that trained it.

    Raises:
        UserError: If files are missing, links or pickles.
    """
    paths = list_files(folder)
    check_model_files(folder, paths)
    files = {
        path.name: {"sha256": hash_file(path), "bytes": path.stat().st_size}
        for path in paths.values()
    }
    hashes = [[file, described["sha256"]] for file, described in files.items()]
    return {
        "kind": kind,
        "name": name,
        "base": describe_base(base),
        "data": dict(data),
        "options": dict(options),
        "metrics": dict(metrics),
        "parents": {},
        "git_commit": "unknown",
        "packages": dict(packages),
        "files": files,
        "fingerprint": hashlib.sha256(json.dumps(hashes).encode()).hexdigest(),
    }


def describe_base(base: ModelFolder) -> dict[str, str]:
    """Return what a manifest says of the model that a checkpoint was trained from."""
    pad = {"pad_token": base.pad_token} if base.pad_token else {}
    return {"name": base.name, "fingerprint": base.fingerprint, **pad}


def check_checkpoint(folder: Path, *, verify: bool = False) -> Checkpoint:
    """Read a checkpoint.

    Args:
        folder: Its files and its manifest.
        verify: Compare the contents of the files, too, not only their sizes.

    Raises:
        UserError: If it is not whole.
    """
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(_incomplete(folder, f"no {MANIFEST}")) from None
    except ValueError as exc:
        raise UserError(_incomplete(folder, f"{MANIFEST} is not JSON ({exc})")) from exc
    checkpoint = Checkpoint(folder, manifest)
    check_files(checkpoint, verify=verify)
    return checkpoint


def check_files(checkpoint: Checkpoint, *, verify: bool = False) -> None:
    """Compare the files with those in the manifest.

    Raises:
        UserError: The first file that is missing or differs.
    """
    paths = list_files(checkpoint.folder)
    for name, file in checkpoint.manifest["files"].items():
        if name not in paths:
            raise UserError(_incomplete(checkpoint.folder, f"no {name}"))
        size = paths[name].stat().st_size
        if size != file["bytes"]:
            found = f"{name} has {size} bytes and not {file['bytes']}"
            raise UserError(_incomplete(checkpoint.folder, found))
        if verify and hash_file(paths[name]) != file["sha256"]:
            raise UserError(_incomplete(checkpoint.folder, f"{name} has changed (its sha256)"))


def _incomplete(folder: Path, found: str) -> str:
    return (
        f"incomplete checkpoint {folder}: {found}; restore it, or run the pipeline that trains it"
    )


def as_model(
    checkpoint: Checkpoint, bos: bool | None, trust_remote_code: bool = False
) -> ModelFolder:
    """Return a checkpoint as the generation worker takes models.

    Args:
        checkpoint: A policy, which pads as the entry of its base model says, or a reward model,
            whose tokenizer has a pad token of its own.
        bos: Whether its texts begin with the bos token, as that entry says.
        trust_remote_code: Whether code of the base model may run.
    """
    manifest = checkpoint.manifest
    is_policy = manifest["kind"] == "policy"
    return ModelFolder(
        name=manifest["name"],
        folder=checkpoint.folder,
        fingerprint=manifest["fingerprint"],
        bos=bos,
        trust_remote_code=trust_remote_code,
        pad_token=manifest["base"].get("pad_token") if is_policy else None,
    )


def check_same_data(checkpoint: Checkpoint, what: str, digest: str, remedy: str) -> None:
    """Refuse a model that was trained on other data than the run has.

    Args:
        checkpoint: The model.
        what: Its data's name in the manifest.
        digest: Of the data that the run has.
        remedy: What the user can do.

    Raises:
        UserError: If the digests differ.
    """
    manifest = checkpoint.manifest
    trained = manifest["data"].get(what, "none")
    if trained != digest:
        raise UserError(
            f"{manifest['name']} was trained on another version of {what} "
            f"({checkpoint.folder}: {trained:.12}, this run: {digest:.12}); {remedy}"
        )


def check_same_base(checkpoint: Checkpoint, model: ModelFolder, remedy: str) -> None:
    """Refuse a model that was trained from another one than the options name.

    Raises:
        UserError: If the fingerprints differ.
    """
    base = checkpoint.manifest["base"]
    if base["fingerprint"] != model.fingerprint:
        raise UserError(
            f"{checkpoint.manifest['name']} was trained from {base['name']} "
            f"({checkpoint.folder}: {base['fingerprint']:.12}), the options name {model.name} "
            f"({model.fingerprint:.12}); {remedy}"
        )


def check_same_tokenizer(checkpoint: Checkpoint, folder: Path, remedy: str) -> None:
    """Refuse a model whose token ids mean other texts: rewards are computed from token ids.

    Args:
        checkpoint: The model.
        folder: The other model's.
        remedy: What the user can do.

    Raises:
        UserError: If the tokenizers differ.
    """
    if not (folder / TOKENIZER).is_file():
        raise UserError(f"{folder}: no {TOKENIZER} to compare with; {remedy}")
    if hash_tokenizer(folder) != hash_tokenizer(checkpoint.folder):
        raise UserError(
            f"{checkpoint.manifest['name']} has another tokenizer than {folder} "
            f"({checkpoint.folder / TOKENIZER}); {remedy}"
        )


def list_files(folder: Path) -> dict[str, Path]:
    """Return the plain files at the top of a folder by name, without the manifest."""
    return {
        path.name: path
        for path in sorted(folder.glob("*"))
        if path.is_file() and not path.is_symlink() and path.name != MANIFEST
    }


def check_model_files(folder: Path, names: Collection[str]) -> None:
    """Refuse what is no whole model in safetensors.

    Raises:
        UserError: What is missing, or should not be there.
    """
    if pickles := sorted(name for name in names if Path(name).suffix.lower() in PICKLES):
        raise UserError(
            f"{folder}: {', '.join(pickles)}; pickles can run code when opened and are refused, "
            "so leave them out or convert them to safetensors"
        )
    if links := sorted(path.name for path in folder.glob("*") if path.is_symlink()):
        raise UserError(f"{folder}: {', '.join(links)} is a symbolic link; copy the file itself")
    for needed in (CONFIG, TOKENIZER):
        if needed not in names:
            raise UserError(f"{folder}: no {needed}; save the model and its tokenizer there")
    if not any(name.endswith(WEIGHTS) for name in names):
        raise UserError(f"{folder}: no *{WEIGHTS}; save the model's weights there")
    if WEIGHTS_INDEX in names:
        index = json.loads((folder / WEIGHTS_INDEX).read_text(encoding="utf-8"))
        if missing := sorted(set(index["weight_map"].values()) - set(names)):
            raise UserError(
                f"{folder}: no {', '.join(missing)}, named by {WEIGHTS_INDEX}; save it again"
            )


def hash_file(path: Path) -> str:
    """Return a file's sha256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_tokenizer(folder: Path) -> str:
    """Return the sha256 of what decides the token ids of texts in tokenizer.json.

    Not of its bytes: a tokenizer that has padded or cut a batch writes that into its file. Special
    tokens are left out, too: no text is read as one, and reward models have one more to pad with.
    """
    read = json.loads(Tokenizer.from_file(str(folder / TOKENIZER)).to_str())
    added = [each for each in read["added_tokens"] if not each["special"]]
    parts = [read[part] for part in ("normalizer", "pre_tokenizer", "model")]
    return hashlib.sha256(json.dumps([*parts, added]).encode()).hexdigest()
