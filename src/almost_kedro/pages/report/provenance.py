"""Options and versions of everything, and where the page of comparisons is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypedDict
from urllib.parse import quote

from almost_kedro.pages.table import Table

RUN_RECORD = "run_record"


class RunRecord(TypedDict):
    """What a run is.

    Attributes:
        session_id: Of the Kedro session; what the run saves has it as its version.
        env: Environment of the options.
        pipeline: What was run.
        git_commit: That is checked out, marked if files differ from it; "unknown" without git.
        options: All of them, as plain values.
        versions: Of the versioned datasets that the node loaded.
        packages: Of Python and the packages that matter.
    """

    session_id: str
    env: str
    pipeline: str
    git_commit: str
    options: dict[str, Any]
    versions: dict[str, str]
    packages: dict[str, str]


def tabulate_options(options: Mapping[str, Any]) -> Table:
    """Write all options one below another, nested names joined by dots."""
    return Table("All options", ("option", "value"), tuple(_flatten(options)), texts=(1,))


def _flatten(options: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows = []
    for name, value in options.items():
        if isinstance(value, Mapping) and value:
            rows += _flatten(value, f"{prefix}{name}.")
        else:
            shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            rows.append((f"{prefix}{name}", shown))
    return rows


def tabulate_versions(versions: Mapping[str, str], session_id: str) -> Table:
    """Write the version of each dataset that went in, and which of them this run made."""
    rows = tuple(
        (name, version, "this run" if version == session_id else "an earlier run")
        for name, version in versions.items()
    )
    heads = ("dataset", "version", "made by")
    return Table("Versions of what is shown here", heads, rows, texts=(1, 2))


def tabulate_packages(packages: Mapping[str, str]) -> Table:
    """Write the versions of the software."""
    return Table("Software", ("package", "version"), tuple(packages.items()), texts=(1,))


def tabulate_fingerprints(models: Mapping[str, Mapping[str, str]]) -> Table:
    """Write each model's fingerprint: a hash of all files that decide what it says."""
    rows = tuple((name, found["fingerprint"]) for name, found in models.items())
    return Table("Fingerprints of the models", ("model", "fingerprint"), rows, texts=(1,))


def link_explorer(session_id: str) -> str:
    """Return the way from the report to the same run's page of comparisons."""
    return f"../../explorer.html/{quote(session_id, safe='')}/explorer.html"
