"""DataTables (MIT), a library for tables, as the package `itables` brings it: nothing is copied."""

from __future__ import annotations

import re
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from almost_kedro.pages.render import Script

# What the module hands out, at its end: {Md as DateTime,vh as default,...}
EXPORTS = re.compile(r"\bexport\s*\{([^{}]*)\};?")


def load_datatables() -> Script:
    """Return the library as a plain script that makes the global `DataTable`.

    Raises:
        ValueError: If this version of itables is built in another way.
    """
    spec = find_spec("itables")  # without importing it, and pandas with it
    assert spec is not None
    assert spec.origin is not None
    module = (Path(spec.origin).parent / "html/dt_bundle.js").read_text(encoding="utf-8")
    try:
        return wrap_module(module)
    except ValueError as exc:
        raise ValueError(f"itables {version('itables')}: {exc}") from exc


def wrap_module(module: str) -> Script:
    """Make a plain script of an ES module that imports nothing, so that a page needs no loader.

    Raises:
        ValueError: If it exports nothing as default, or not exactly once.
    """
    found = EXPORTS.findall(module)
    items = found[0].split(",") if len(found) == 1 else []
    names = {public: local for local, _, public in (item.partition(" as ") for item in items)}
    if "default" not in names:
        raise ValueError("dt_bundle.js does not end with the one export of DataTables")
    script = EXPORTS.sub(f"globalThis.DataTable={names['default']};", module)
    # "<!--" stands in regular expressions of the library, which read \x3c as "<"; in a page it
    # would open a comment.
    return Script('(()=>{"use strict";' + script.replace("<!--", r"\x3c!--") + "\n})();")
