"""`kedro viz build`, opened: the lineage of every pipeline, and previews."""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from kedro_viz.api.rest.utils import get_package_compatibilities
from sessions import build_viz
from waiting import expect

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser
PIPELINES = ("synthetic_feedback", "reward_model", "rmsp_sft", "rl", "evaluation")
# Kedro-Viz asks for a font elsewhere; without a network its page uses another.
FONT = "https://fonts.googleapis.com/"


class Quiet(SimpleHTTPRequestHandler):
    """Serves files without a word."""

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def address(
    project: Path, evaluated: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    copy = tmp_path_factory.mktemp("viz")
    build_viz(project, evaluated, copy)
    # The one document that the page asks for and `kedro viz build` forgets.
    packages = [package.model_dump() for package in get_package_compatibilities()]
    metadata = {"has_missing_dependencies": False, "package_compatibilities": packages}
    (copy / "build/api/metadata").write_text(json.dumps(metadata))
    handler = functools.partial(Quiet, directory=str(copy / "build"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture
def open_viz(open_page: Callable[..., Page], address: str) -> Callable[[str], Page]:
    """Opens a pipeline."""

    def open_(pipeline: str) -> Page:
        page = open_page(f"{address}?pid={pipeline}", allowed=(address, "data:", "blob:", FONT))
        page.locator(".pipeline-node").first.wait_for()
        return page

    return open_


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_each_pipeline_is_drawn(open_viz: Callable[[str], Page], pipeline: str) -> None:
    page = open_viz(pipeline)
    expect(page.locator(".pipeline-node").nth(10)).to_be_attached()
    expect(page.get_by_text(pipeline, exact=True).first).to_be_attached()


@pytest.mark.parametrize(
    ("pipeline", "dataset", "preview"),
    [
        ("synthetic_feedback", "comparisons", ".preview-table"),
        ("synthetic_feedback", "demonstrations", ".preview-table"),
        ("evaluation", "evaluation_plot", ".js-plotly-plot"),
        ("reward_model", "gate", ".react-json-view"),
    ],
)
def test_a_preview_opens(
    open_viz: Callable[[str], Page], pipeline: str, dataset: str, preview: str
) -> None:
    page = open_viz(pipeline)
    page.get_by_text(dataset, exact=True).first.click()
    page.locator(preview).first.wait_for()
