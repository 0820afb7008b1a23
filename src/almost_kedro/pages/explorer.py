"""The page to browse comparisons: its document, the table's library and our scripts in one file."""

from __future__ import annotations

from collections.abc import Mapping

from almost_kedro.feedback.ledger import KEPT
from almost_kedro.pages.datatables import load_datatables
from almost_kedro.pages.explorer_rows import Explorer
from almost_kedro.pages.render import Script, read_asset, render_page

# In the order in which they need each other.
SCRIPTS = (
    "explorer_data.js",
    "explorer_filters.js",
    "explorer_words.js",
    "explorer_ancestry.js",
    "explorer_detail.js",
    "explorer.js",
)


def render_explorer(explorer: Explorer) -> str:
    """Return the page."""
    scripts = [Script(read_asset(name)) for name in SCRIPTS]
    return render_page(
        "explorer.html",
        {"explorer": explorer, **count_pairs(explorer)},
        [load_datatables(), *scripts],
        [read_asset("explorer.css")],
    )


def count_pairs(explorer: Explorer) -> Mapping[str, int]:
    """Count what the page's first lines tell.

    Returns:
        n_kept and n_dropped pairs; n_differ, those that one rule set keeps and the other drops;
        n_scored, those with rewards; n_wrong, those whose rejected answer has the higher one.
    """
    kept = explorer["names"].index(KEPT)
    verdicts = [verdict or (kept, kept, kept, 0) for *_, verdict, _ in explorer["pairs"]]
    scores = [scores for *_, scores in explorer["pairs"] if scores]
    n_kept = sum(rule == kept for rule, *_ in verdicts)
    return {
        "n_kept": n_kept,
        "n_dropped": len(verdicts) - n_kept,
        "n_differ": sum((a == kept) != (b == kept) for _, a, b, _ in verdicts),
        "n_scored": len(scores),
        "n_wrong": sum(chosen < rejected for chosen, rejected, *_ in scores),
    }
