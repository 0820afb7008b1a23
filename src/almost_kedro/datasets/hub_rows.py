"""Rows of datasets on the Hugging Face hub; nothing is fetched unless an option asks for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from almost_kedro.errors import UserError

# The hub's conversions of datasets that were Python scripts, which no longer run.
CONVERTED = "refs/convert/parquet"


def load_hub_rows(
    option: str, name: str, split: str, remedy: str, configuration: str | None = None
) -> Iterable[Mapping[str, Any]]:
    """Load a split of a dataset; the library reads folders, too.

    Raises UserError if that fails; it names the `option`, and the `remedy` for the user.
    """
    from datasets import load_dataset

    try:
        try:
            rows: Iterable[Mapping[str, Any]] = load_dataset(name, configuration, split=split)
        except RuntimeError as exc:
            if "scripts are no longer supported" not in str(exc):
                raise
            rows = load_dataset(name, data_dir=configuration, split=split, revision=CONVERTED)
    except Exception as exc:
        reason = (str(exc).splitlines() or [""])[0]
        what = f"split {split} of {name}" + (f" ({configuration})" if configuration else "")
        raise UserError(
            f"{option}: {what} can't be loaded ({type(exc).__name__}: {reason:.160}); {remedy}"
        ) from exc
    return rows
