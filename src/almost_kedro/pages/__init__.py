"""Self-contained HTML pages, made from templates that escape whatever a model wrote."""

from almost_kedro.pages.render import Script, read_asset, render_page

__all__ = ["Script", "read_asset", "render_page"]
