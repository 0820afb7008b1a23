"""Self-contained HTML pages, made from templates that escape whatever a model wrote."""

from .render import Script, render_page

__all__ = ["Script", "render_page"]
