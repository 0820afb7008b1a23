"""Which policy repeats itself more than another."""

from __future__ import annotations

from almost_kedro.evaluation.statistics import show_share
from almost_kedro.feedback.repetition import RUN
from almost_kedro.rows.metrics import PolicyComparison


def show_repetition(pair: str, found: PolicyComparison) -> str:
    """Say by how much the new policy of a "new-vs-old" repeats itself more than the old one.

    Empty if that is not shown with 95 %, and for metrics of before repetition was measured.
    """
    more = found["differences"][pair].get("repetition")
    if more is None or more["low"] <= 0:
        return ""
    new, old = pair.split("-vs-")
    each, before = (found["policies"][name]["repetition"] for name in (new, old))
    return (
        f"{new} repeats itself more than {old}: {show_share(each)} of its runs of {RUN} words "
        f"stood before in the answer, {show_share(before)} of {old}'s"
    )
