"""A trained model in a folder, with a manifest of what it was made from."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from tokenizers import Tokenizer

from almost_kedro.contract import ModelFolder
from almost_kedro.errors import UserError
from almost_kedro.models.files import ADAPTER_FOLDER

MANIFEST = "manifest.json"
# In a checkpoint's folder, a folder for each of its members by number.
MEMBERS = "members"
CONFIG = "config.json"
TOKENIZER = "tokenizer.json"
WEIGHTS = ".safetensors"
# What options without it don't name.
LEFT_OUT: Mapping[str, Any] = MappingProxyType({"lora": None})
WEIGHTS_INDEX = "model.safetensors.index.json"
# Pickled weights and trainer states can run code when opened.
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")


@dataclass(frozen=True)
class Checkpoint:
    """A trained model: its folder, and its manifest as `make_manifest` returned it.

    `hooks.ManifestHook` adds the versions of its parents and the commit before it is saved. A
    reward model may be one of several that reward together: the others are its `members`, and its
    manifest has everybody's `scales` (`feedback.ensemble`).
    """

    folder: Path
    manifest: dict[str, Any]
    members: tuple[Checkpoint, ...] = ()


def make_manifest(
    folder: Path,
    served: Path,
    *,
    kind: Literal["reward_model", "policy"],
    name: str,
    base: ModelFolder,
    data: Mapping[str, str],
    options: Mapping[str, Any],
    metrics: Mapping[str, Any],
    packages: Mapping[str, str],
) -> dict[str, Any]:
    """Describe a trained model; folders within its folder are not part of it.

    It is identified by what training saved. So what others need besides (see `training.served`) can
    change, and what it generated stays valid.

    Args:
        folder: What training saved.
        served: The same model as others use it; its files are the checkpoint's.
        data: A digest for each thing that it was trained on.

    Raises:
        UserError: If files are missing, links or pickles.
    """
    trained, files = list_files(folder), list_files(served)
    for place, paths in ((folder, trained), (served, files)):
        check_model_files(place, paths)
    hashes = {name: hash_file(path) for name, path in trained.items()}
    identity = json.dumps([[name, each] for name, each in hashes.items()])
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
        "files": {
            name: {
                "sha256": hashes[name] if is_same(path, trained.get(name)) else hash_file(path),
                "bytes": path.stat().st_size,
            }
            for name, path in files.items()
        },
        "fingerprint": hashlib.sha256(identity.encode()).hexdigest(),
    }


def is_same(path: Path, other: Path | None) -> bool:
    """Tell whether two names are of one file."""
    return other is not None and path.samefile(other)


def describe_base(base: ModelFolder) -> dict[str, str]:
    """Return what a manifest says of the model that a checkpoint was trained from."""
    reading = {"pad_token": base.pad_token, "template": base.template}
    given = {name: value for name, value in reading.items() if value}
    return {"name": base.name, "fingerprint": base.fingerprint, **given}


def check_checkpoint(folder: Path, *, verify: bool = False) -> Checkpoint:
    """Read a checkpoint, with `verify` every byte of it; raise UserError if it is not whole."""
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(_incomplete(folder, f"no {MANIFEST}")) from None
    except ValueError as exc:
        raise UserError(_incomplete(folder, f"{MANIFEST} is not JSON ({exc})")) from exc
    n_members = len(manifest.get("scales", [])[1:])
    members = [
        check_checkpoint(folder / MEMBERS / str(number), verify=verify)
        for number in range(1, n_members + 1)
    ]
    checkpoint = Checkpoint(folder, manifest, tuple(members))
    check_files(checkpoint, verify=verify)
    return checkpoint


def check_files(checkpoint: Checkpoint, *, verify: bool = False) -> None:
    """Raise UserError for the first file that is missing or differs from the manifest."""
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

    A policy pads as the entry of its base model says. A reward model's tokenizer has a pad token of
    its own. `bos` is what that entry says. Both read dialogues as they were trained to.
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
        template=manifest["base"].get("template"),
    )


def check_same_data(checkpoint: Checkpoint, what: str, digest: str, remedy: str) -> None:
    """Raise UserError if a model was trained on other data than the run has.

    `what` is the data's name in the manifest, `digest` identifies the run's data.
    """
    manifest = checkpoint.manifest
    trained = manifest["data"].get(what, "none")
    if trained != digest:
        raise UserError(
            f"{manifest['name']} was trained on another version of {what} "
            f"({checkpoint.folder}: {trained:.12}, this run: {digest:.12}); {remedy}"
        )


def check_same_base(checkpoint: Checkpoint, model: ModelFolder, remedy: str) -> None:
    """Raise UserError if a model was trained from another one than the options name."""
    base = checkpoint.manifest["base"]
    if base["fingerprint"] != model.fingerprint:
        raise UserError(
            f"{checkpoint.manifest['name']} was trained from {base['name']} "
            f"({checkpoint.folder}: {base['fingerprint']:.12}), the options name {model.name} "
            f"({model.fingerprint:.12}); {remedy}"
        )


def check_same_options(checkpoint: Checkpoint, options: Mapping[str, Any], remedy: str) -> None:
    """Raise UserError, with the first one, if a model was trained with other options.

    `options` are plain values. The model's name is none of them, as its base is known by its
    fingerprint, nor are options of after its training, but for those that are only there if set.
    """
    manifest = checkpoint.manifest
    for name, value in {**LEFT_OUT, **options}.items():
        trained = manifest["options"].get(name, LEFT_OUT.get(name, value))
        if name != "model" and trained != value:
            raise UserError(
                f"{manifest['name']} was trained with {name} {trained!r} ({checkpoint.folder}), "
                f"this run has {value!r}; {remedy}"
            )


def check_same_tokenizer(checkpoint: Checkpoint, folder: Path, remedy: str) -> None:
    """Raise UserError if the model in `folder` has another tokenizer than the checkpoint.

    Rewards are computed from token ids, so both must read ids as the same texts.
    """
    if not (folder / TOKENIZER).is_file():
        raise UserError(f"{folder}: no {TOKENIZER} to compare with; {remedy}")
    if hash_tokenizer(folder) != hash_tokenizer(checkpoint.folder):
        raise UserError(
            f"{checkpoint.manifest['name']} has another tokenizer than {folder} "
            f"({checkpoint.folder / TOKENIZER}); {remedy}"
        )


def list_files(folder: Path) -> dict[str, Path]:
    """Return the plain files at the top of a folder, and of its adapter, by name.

    The manifest is none of them.
    """
    return {
        str(path.relative_to(folder)): path
        for path in [*sorted(folder.glob("*")), *sorted(folder.glob(f"{ADAPTER_FOLDER}/*"))]
        if path.is_file() and not path.is_symlink() and path.name != MANIFEST
    }


def check_model_files(folder: Path, names: Collection[str]) -> None:
    """Raise UserError unless these are a whole model in safetensors, with no pickles or links."""
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
    # Not those of an adapter, which are in a folder of their own.
    if not any(name.endswith(WEIGHTS) and "/" not in name for name in names):
        raise UserError(f"{folder}: no *{WEIGHTS}; save the model's weights there")
    if WEIGHTS_INDEX in names:
        index = json.loads((folder / WEIGHTS_INDEX).read_text(encoding="utf-8"))
        if missing := sorted(set(index["weight_map"].values()) - set(names)):
            raise UserError(
                f"{folder}: no {', '.join(missing)}, named by {WEIGHTS_INDEX}; save it again"
            )


def link_file(source: Path, target: Path) -> None:
    """Give a file a second name; copy it where that can't be, as across file systems."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def hash_file(path: Path) -> str:
    """Return a file's sha256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_tokenizer(folder: Path) -> str:
    """Return the sha256 of what decides the token ids of texts in tokenizer.json.

    The file's bytes differ once the tokenizer has padded or cut a batch. Special tokens are left
    out, too: no text is read as one, and reward models have one more to pad with.
    """
    read = json.loads(Tokenizer.from_file(str(folder / TOKENIZER)).to_str())
    added = [each for each in read["added_tokens"] if not each["special"]]
    parts = [read[part] for part in ("normalizer", "pre_tokenizer", "model")]
    return hashlib.sha256(json.dumps([*parts, added]).encode()).hexdigest()
