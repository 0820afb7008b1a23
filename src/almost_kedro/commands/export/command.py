"""`kedro export`: from rows of a run to a folder that TRL, distilabel, axolotl and the hub take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kedro.io import DataCatalog
from kedro.utils import load_obj

from almost_kedro.commands.export.folder import (
    FileType,
    check_folder,
    name_file,
    write_card,
    write_folder,
    write_split,
)
from almost_kedro.commands.export.formats import MAKERS, Format
from almost_kedro.commands.export.splits import sort_rows
from almost_kedro.commands.rows import find_rows
from almost_kedro.commands.trace.catalog import find_versions
from almost_kedro.commands.versions import find_made_from, find_source
from almost_kedro.errors import UserError
from almost_kedro.pages.export_card import Exported, write_export_card
from almost_kedro.rows.training import PromptSplit
from almost_kedro.rows.validator import RowsValidator
from almost_kedro.rows.visible_text import make_line

SPLITS, CARD = "prompt_splits", "dataset_card"
# Whose rows the run's card describes.
DESCRIBED = "comparisons"


def export_rows(
    catalog: DataCatalog,
    dataset: str,
    form: Format,
    folder: Path,
    version: str | None = None,
    file_type: FileType = "parquet",
) -> Exported:
    """Write the rows of a dataset into a folder, which must be new or empty; say what is in it.

    Raises UserError if the rows have no such format, if there are none, or if a split is missing.
    """
    check_folder(folder)
    found = find_rows(catalog, dataset, version)
    kind = get_row_type(catalog, dataset)
    makers = MAKERS.get(kind, {}) if kind else {}
    if form not in makers:
        able = f"it can be {' or '.join(makers)}" if makers else _name_able(catalog)
        raise UserError(f"--format {form}: {dataset} has no columns for it; {able}")
    version = version or str(found.resolve_load_version())
    rows = load_rows(catalog, dataset, version)
    splits = load_splits(catalog, dataset, kind, version)
    files, uses, left_out = sort_rows(dataset, makers[form](rows), splits)
    if not files:
        raise UserError(f"{dataset}: version {version} has no rows to export")
    exported = Exported(
        dataset=dataset,
        version=version,
        form=form,
        counts={name: len(rows) for name, rows in files.items()},
        uses=uses,
        files={name: name_file(name, file_type) for name in files},
        left_out=left_out,
    )
    with write_folder(folder) as part:
        for name, split in files.items():
            write_split(part / exported.files[name], split, form, file_type)
        write_card(part, write_export_card(exported, load_card(catalog, dataset, version)))
    return exported


def load_rows(catalog: DataCatalog, dataset: str, version: str) -> list[dict[str, Any]]:
    """Load and check the rows of a version."""
    rows = find_rows(catalog, dataset, version).load()
    kind = get_validator(catalog, dataset)
    if kind:
        try:
            kind().validate(rows)
        except ValueError as exc:
            raise UserError(f"{dataset}, version {version}: {exc}") from exc
    return rows


def get_validator(catalog: DataCatalog, dataset: str) -> type[RowsValidator] | None:
    """Return the validator that the catalog names for a dataset of rows."""
    spec = catalog.validator_specs.get(dataset)
    kind = load_obj(spec.class_path) if spec else None
    return kind if isinstance(kind, type) and issubclass(kind, RowsValidator) else None


def get_row_type(catalog: DataCatalog, dataset: str) -> type | None:
    """Return the type of a dataset's rows."""
    kind = get_validator(catalog, dataset)
    return kind.row if kind else None


def load_splits(
    catalog: DataCatalog, dataset: str, kind: type | None, version: str
) -> list[PromptSplit]:
    """Load the splits by which a version of rows was made; the user's own rows have none."""
    if kind and "prompt_id" not in kind.__annotations__:
        return []
    source = find_source(find_versions(catalog, SPLITS), version)
    if not source:
        raise UserError(
            f"{dataset}: there is no {SPLITS} of version {version} or before, so what may be "
            "trained on is not known; restore it, or run the pipeline synthetic_feedback"
        )
    splits: list[PromptSplit] = catalog.load(SPLITS, version=source)
    return splits


def load_card(catalog: DataCatalog, dataset: str, version: str) -> str | None:
    """Load the run's card of these rows; None if there is none."""
    if dataset != DESCRIBED:
        return None
    found = find_made_from(find_versions(catalog, CARD), find_versions(catalog, dataset), version)
    return str(catalog.load(CARD, version=found)) if found else None


def describe_export(exported: Exported, folder: Path) -> list[str]:
    """Say in lines what was written where."""
    lines = [
        f"{split:5} {count:7,} rows, prompts used for {exported.uses[split]}"
        for split, count in exported.counts.items()
    ]
    if exported.left_out:
        lines.append(f"{exported.left_out:,} rows left out: their prompts repeat a benchmark item")
    return [*lines, make_line(str(folder))]


def _name_able(catalog: DataCatalog) -> str:
    able = [name for name in catalog.validator_specs if get_row_type(catalog, name) in MAKERS]
    return f"it has none for any format; these have: {', '.join(sorted(able))}"
