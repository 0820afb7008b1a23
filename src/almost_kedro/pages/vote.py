"""The page on which people vote between two answers; it does not know whose they are."""

from __future__ import annotations

from almost_kedro.pages.render import Script, read_asset, render_page
from almost_kedro.rows.human_votes import FORM, VotePage

# In the order in which they need each other.
SCRIPTS = ("vote_state.js", "vote.js")


def render_vote(page: VotePage) -> str:
    """Return the page."""
    return render_page(
        "vote.html",
        {"document": {**page, "form": FORM}, "n": len(page["questions"])},
        [Script(read_asset(name)) for name in SCRIPTS],
        [read_asset("vote.css")],
    )
