"""Versioned checkpoints: folders that appear whole or not at all and share equal files' disk."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path, PurePosixPath
from typing import Any

from kedro.io import AbstractVersionedDataset, DatasetError, Version
from kedro_datasets._typing import JSONPreview

from almost_kedro.errors import UserError
from almost_kedro.models.checkpoints import (
    MANIFEST,
    MEMBERS,
    Checkpoint,
    check_checkpoint,
    check_files,
    link_file,
)
from almost_kedro.rows.json_lines import dump, encode

SHOWN = ("kind", "name", "base", "metrics", "options", "parents")


class CheckpointDataset(AbstractVersionedDataset[Checkpoint, Checkpoint]):
    """A trained model in a versioned folder.

    Its files are hard links to those that were saved, so saving a model again takes no more disk.
    Code that writes a model must therefore replace files, and not write into old ones.

    YAML:
        reward_model:
          type: almost_kedro.datasets.checkpoint.CheckpointDataset
          filepath: data/06_models/reward_model
          versioned: true

    Python:
        CheckpointDataset(filepath="reward_model", version=Version(None, None)).load().folder
    """

    def __init__(
        self,
        *,
        filepath: str,
        version: Version | None = None,
        metadata: dict[str, Any] | None = None,
    ):
        """Describe a folder of versions; raise DatasetError if it is not versioned."""
        if version is None:
            raise DatasetError(f"{filepath}: checkpoints are versioned; set `versioned: true`")
        super().__init__(PurePosixPath(filepath), version)
        self.metadata = metadata

    def save(self, data: Checkpoint) -> None:
        """Link the files that the manifest names, and write the manifest."""
        target = Path(self._get_save_path())
        # Not in the version's folder: the next save, of another version, must find it.
        part = Path(self._filepath) / f".{target.name}.part"
        try:
            for each in (data, *data.members):
                check_files(each)
            shutil.rmtree(part, ignore_errors=True)  # left by a save that was killed
            part.mkdir(parents=True)
            fill_folder(part, data)
            target.parent.mkdir(exist_ok=True)
            os.replace(part, target)
            sync(target.parent)
            sync(part.parent)
        except UserError as exc:
            raise DatasetError(str(exc)) from exc
        except OSError as exc:
            raise DatasetError(f"{target}: could not be written: {exc.strerror or exc}") from exc
        finally:
            shutil.rmtree(part, ignore_errors=True)

    def load(self) -> Checkpoint:
        """Read the manifest and see that all files are there."""
        try:
            return check_checkpoint(Path(self._get_load_path()).absolute())
        except UserError as exc:
            raise DatasetError(str(exc)) from exc

    def preview(self) -> JSONPreview:
        """Return for kedro-viz what the model is and was made from."""
        manifest = self.load().manifest
        return JSONPreview(json.dumps({key: manifest[key] for key in SHOWN}))

    def _exists(self) -> bool:
        try:
            return Path(self._get_load_path()).is_dir()
        except DatasetError:
            return False

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._filepath, "version": self._version}


def fill_folder(folder: Path, checkpoint: Checkpoint) -> None:
    """Put a checkpoint's files, manifest and members into an empty folder, and onto the disk."""
    for name in checkpoint.manifest["files"]:
        (folder / name).parent.mkdir(exist_ok=True)
        link_file(checkpoint.folder / name, folder / name)
        sync(folder / name)
    manifest = dump(checkpoint.manifest, MANIFEST, indent=2)
    (folder / MANIFEST).write_bytes(encode(manifest + "\n"))
    sync(folder / MANIFEST)
    for number, member in enumerate(checkpoint.members, 1):
        place = folder / MEMBERS / str(number)
        place.mkdir(parents=True)
        fill_folder(place, member)
        sync(place.parent)
    sync(folder)


def sync(path: Path) -> None:
    """Wait until a file's bytes or a folder's names are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
