"""The page on which people vote, as a file."""

import json
import re

from almost_kedro.pages.vote import render_vote
from almost_kedro.rows.human_votes import FORM, VotePage

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\x1b[31m\u202e{{ 7 * 7 }}"
PAGE = VotePage(
    page="d" * 64,
    questions=[{"vote_id": "0" * 16, "question": HOSTILE, "left": HOSTILE, "right": HOSTILE}] * 2,
)


def test_texts_are_data_and_nothing_else() -> None:
    page = render_vote(PAGE)
    [found] = re.findall(r'<script type="application/json" id="vote">(.*?)</script>', page)
    shown = HOSTILE.replace("\x1b", "\\x1b").replace("\u202e", "\\u202e")
    assert json.loads(found) == {
        "page": "d" * 64,
        "questions": [
            {"vote_id": "0" * 16, "question": shown, "left": shown, "right": shown},
        ]
        * 2,
        "form": FORM,
    }
    assert page.count("alert(1)") == found.count("alert(1)") == 12
    assert "<img" not in page
    assert "\x1b" not in page


def test_it_loads_nothing_from_elsewhere() -> None:
    page = render_vote(PAGE)
    assert re.findall(r'(?:src|href)="(?!#)', page) == []
    assert page.count("<script>") == 2
    assert page.count("sha256-") == 2
