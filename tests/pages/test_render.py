"""Pages: what is put into them stays data."""

import html
import json
import re
from pathlib import Path

import jinja2
import pytest

from almost_kedro.pages import Script, render, render_page

HOSTILE = "<script>alert(1)</script>\x1b[31m\u202e'\"&"
SHOWN = r"&lt;script&gt;alert(1)&lt;/script&gt;\x1b[31m\u202e&#39;&#34;&amp;"


@pytest.fixture
def template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A page of one text and one document."""
    own = Path(render.__file__).parent / "templates"
    page = '{% extends "page.html" %}{% block main %}<p title="{{ text }}">{{ text }}</p>'
    page += '{{ json_data("rows", rows) }}{% endblock %}'
    (tmp_path / "one.html").write_text(page)
    monkeypatch.setattr(render, "PackageLoader", lambda _: jinja2.FileSystemLoader([tmp_path, own]))
    return "one.html"


def test_what_a_model_wrote_is_text(template: str) -> None:
    page = render_page(template, {"text": HOSTILE, "rows": []})
    assert f'<p title="{SHOWN}">{SHOWN}</p>' in page


def test_data_of_scripts_is_data_and_whole(template: str) -> None:
    rows = [{"chosen": HOSTILE, "n": 3, "none": None}]
    page = render_page(template, {"text": "", "rows": rows})
    [found] = re.findall(r'<script type="application/json" id="rows">(.*?)</script>', page)
    assert json.loads(found) == [
        {"chosen": "<script>alert(1)</script>\\x1b[31m\\u202e'\"&", "n": 3, "none": None}
    ]


def test_a_page_names_its_scripts_by_their_hash(template: str) -> None:
    page = render_page(template, {"text": "", "rows": []}, [Script("let a = 1 < 2 && 'x'")])
    assert "<script>let a = 1 < 2 && 'x'</script>" in page
    # printf "let a = 1 < 2 && 'x'" | openssl dgst -sha256 -binary | base64
    [policy] = re.findall(r"script-src ([^;]*);", html.unescape(page))
    assert policy == "'sha256-knt9E00Vp5yq32zSkvvOyFsCg7iNT41pNn00SP/Tn3o='"
    without = html.unescape(render_page(template, {"text": "", "rows": []}))
    [none] = re.findall(r"script-src ([^;]*);", without)
    assert none == "'none'"


@pytest.mark.parametrize("script", ["'</SCRIPT>'", "'<!--'"])
def test_a_script_that_would_end_its_element_is_refused(template: str, script: str) -> None:
    with pytest.raises(ValueError, match="would not stay whole"):
        render_page(template, {"text": "", "rows": []}, [Script(script)])


def test_a_value_that_is_not_there_is_an_error(template: str) -> None:
    with pytest.raises(jinja2.UndefinedError):
        render_page(template, {"rows": []})
