"""Every path starts from the project's folder, wherever a command runs.

Kedro does so for the catalog. Here it is done once for the options, before anything reads them.
Paths that belong to the shell (`--page`, `--conf-source`, `> file`) stay as they are.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from almost_kedro.errors import UserError

# The catalog's paths are built from these, too.
ROOTS = ("data_root", "assets_root")
# Options that are paths, and words that they can be instead. A star is any name.
PATHS: Mapping[str, tuple[str, ...]] = {
    "data_root": (),
    "assets_root": (),
    "models.*.path": (),
    "models.*.tokenizer": (),
    "as_is_filter.pairs": (),
    "evaluation.hhh": ("own", "hub"),
    "evaluation.truthfulqa": ("own", "hub"),
    "evaluation.questions": ("own", "hub"),
    "evaluation.mc1_preset": ("own", "none"),
    "evaluation.preferences.*": (),
}
# A folder or a hub id; it is a path where there is such a folder.
PATHS_OR_IDS = ("prompt_generation.wordpiece",)
SQLITE = "sqlite:///"


def resolve_paths(parameters: Mapping[str, Any], project: Path) -> dict[str, Any]:
    """Return the parameters, as the files and `--params` have them, with every path absolute."""
    resolved: dict[str, Any] = copy.deepcopy(dict(parameters))
    for option, words in PATHS.items():
        for block, name in _find(resolved, option.split(".")):
            if isinstance(block[name], str) and block[name] and block[name] not in words:
                block[name] = resolve_path(block[name], project)
    for option in PATHS_OR_IDS:
        for block, name in _find(resolved, option.split(".")):
            if isinstance(block[name], str) and Path(resolve_path(block[name], project)).is_dir():
                block[name] = resolve_path(block[name], project)
    uri = resolved.get("mlflow_uri")
    if isinstance(uri, str) and uri.startswith(SQLITE):
        resolved["mlflow_uri"] = SQLITE + resolve_path(uri.removeprefix(SQLITE), project)
    return resolved


def resolve_path(path: str, project: Path) -> str:
    """Return a path from the project's folder; an absolute one stays."""
    return str(project / Path(path).expanduser())


def _find(block: Any, names: list[str]) -> list[tuple[dict[str, Any], str]]:
    """Find an option wherever it is set: the block that holds it, and its name there."""
    if not isinstance(block, dict):
        return []
    first, *rest = names
    found = list(block) if first == "*" else [first] if first in block else []
    if not rest:
        return [(block, name) for name in found]
    return [each for name in found for each in _find(block[name], rest)]


def check_roots(
    parameters: Mapping[str, Any], global_values: Mapping[str, Any], given: Mapping[str, Any]
) -> None:
    """Refuse a root that would be one folder for the options and another for the catalog.

    Raises UserError if the catalog does not see where a root is set, or if it begins with "~".

    Args:
        parameters: As the files and `--params` have them.
        global_values: globals.yml.
        given: `--params`.
    """
    for name in ROOTS:
        found, seen = parameters.get(name), given.get(name, global_values.get(name))
        if found != seen:
            raise UserError(
                f"option {name}: parameters*.yml set it to {found!r}, but the catalog takes it "
                f"from globals.yml, which says {seen!r}; set it in conf/<env>/globals.yml, or by "
                "--params"
            )
        if isinstance(found, str) and found.startswith("~"):
            raise UserError(f"option {name}: {found!r} begins with ~; give the whole path")
