"""Entries of models.yml, and whether a model's folder was made from its entry."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from almost_kedro.errors import UserError
from almost_kedro.options.models import ModelEntry, ServerModel

MANIFEST = "almost_kedro.json"


def has_weights(entry: ModelEntry) -> bool:
    """Tell whether a model's weights must be on this machine."""
    return not isinstance(entry, ServerModel)


def read_manifest(folder: Path, entry: ModelEntry) -> dict[str, Any] | None:
    """Return a folder's manifest; None unless the folder was made from this entry."""
    try:
        text = (folder / MANIFEST).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    manifest: dict[str, Any] = json.loads(text)
    return manifest if manifest["made_from"] == describe_origin(entry) else None


def describe_origin(entry: ModelEntry) -> dict[str, Any]:
    """Return the fields of an entry that decide the model's files."""
    return entry.model_dump(mode="json", exclude={"aligned", "shape"})


def find_entry(name: str, models: Mapping[str, ModelEntry]) -> ModelEntry:
    """Look a name up in models.yml; raise UserError if it is not there."""
    if name not in models:
        raise UserError(f"model {name!r}: unknown; models.yml has {', '.join(models)}")
    return models[name]
