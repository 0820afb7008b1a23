"""Under which licence something is published: what a person states, never a guess."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from almost_kedro.errors import UserError
from almost_kedro.pages.cards import UNKNOWN, name_license


def choose_model_license(
    given: str | None, base: str, entry: Mapping[str, Any] | None
) -> tuple[str, str]:
    """Return the licence of a model that was trained from `base`, and in a line where it is from.

    Args:
        given: By `--license`.
        base: The name of the model that training started from.
        entry: Its entry in models.yml; None if it has none in this environment.

    Raises:
        UserError: Nobody states one.
    """
    stated = name_license(entry or {})
    if given:
        return given, f"licence: {given}, by --license; models.yml says {stated} of {base}"
    if stated == UNKNOWN:
        raise UserError(
            f"models.yml states no licence of {base}, from which this was trained; state the one "
            "under which you publish by --license ID, such as apache-2.0, or other"
        )
    return stated, f"licence: {stated}, which models.yml states of {base}"


def choose_data_license(given: str | None, writers: Mapping[str, str]) -> tuple[str, str]:
    """Return the licence of rows, as above; `writers` are the licences of who wrote them."""
    known = ", ".join(f"{name}: {license_}" for name, license_ in writers.items())
    if given:
        return given, f"licence: {given}, by --license; models that wrote the rows: {known}"
    raise UserError(
        f"the licence of rows depends on the models that wrote them ({known}); state the one under "
        "which you publish by --license ID, such as cc-by-4.0, or other"
    )
