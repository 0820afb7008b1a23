"""One HTML file that needs no network and runs no script but its own.

Whatever is put into a template is data: Jinja2 escapes it for HTML, control characters and
direction marks are shown as escapes, and the page's content security policy names its scripts by
their hash. So a script that got into a page all the same would not run.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from typing import Any, NewType

from jinja2 import Environment, PackageLoader, StrictUndefined
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

from almost_kedro.rows.visible_text import make_visible

# JavaScript that we or a library wrote; never anything that a model wrote.
Script = NewType("Script", str)


def render_page(
    template: str,
    values: Mapping[str, Any],
    scripts: Sequence[Script] = (),
    styles: Sequence[str] = (),
) -> str:
    """Fill a template that extends `page.html`.

    Data for scripts goes into a template by `{{ json_data("name", value) }}`; scripts read it by
    `JSON.parse(document.getElementById("name").textContent)`.

    Args:
        template: Its name in `templates/`.
        values: What it shows.
        scripts: JavaScript that the page runs when it is there, in this order.
        styles: Style sheets after the common one.

    Returns:
        The page.

    Raises:
        jinja2.UndefinedError: If the template asks for a value that isn't there.
        ValueError: If a script or a style sheet would end its own element.
    """
    for name, texts in (("script", scripts), ("style", styles)):
        if any(f"</{name}" in text.lower() or "<!--" in text for text in texts):
            raise ValueError(f"a {name} that has </{name} or <!-- in it would not stay whole")
    environment = open_templates(_show, autoescape=True)
    return environment.get_template(template).render(
        **values,
        json_data=json_data,
        page_scripts=[Markup(script) for script in scripts],  # noqa: S704
        page_styles=[Markup(style) for style in styles],  # noqa: S704
        script_hashes=" ".join(map(_hash, scripts)) or "'none'",
    )


def open_templates(finalize: Callable[[Any], Any], *, autoescape: bool) -> Environment:
    """Open our templates; whatever is put into one goes through `finalize`."""
    return Environment(
        loader=PackageLoader("almost_kedro.pages"),
        autoescape=autoescape,  # noqa: S701 - markdown is escaped by `finalize`
        undefined=StrictUndefined,
        finalize=finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def read_asset(name: str) -> str:
    """Read a script or a style sheet of ours."""
    return (files("almost_kedro.pages") / "templates" / name).read_text(encoding="utf-8")


def json_data(name: str, value: Any) -> Markup:
    """Return an element that holds a JSON document for scripts; its texts are made visible."""
    document = htmlsafe_json_dumps(_make_all_visible(value), ensure_ascii=False)
    return Markup('<script type="application/json" id="{}">{}</script>').format(name, document)


def _make_all_visible(value: Any) -> Any:
    match value:
        case str():
            return make_visible(value)
        case Mapping():
            return {make_visible(str(key)): _make_all_visible(each) for key, each in value.items()}
        case list() | tuple():
            return [_make_all_visible(each) for each in value]
        case _:
            return value


def _show(value: Any) -> Any:
    """Make text visible; what is markup already stays as it is."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return make_visible(value)
    return value


def _hash(script: Script) -> str:
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
