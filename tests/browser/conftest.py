"""Pages in a real browser. Nothing here imports playwright until a test needs it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

WIDTHS = (1280, 390)
GRAVE = ("serious", "critical")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium; without one, the tests fail.

    A module's own: while playwright runs, no other test can start an event loop.
    """
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium")
    if path is None:
        pytest.fail("there is no chromium on the PATH: install it")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Opens an address. Errors, dialogs, and requests to anything else fail the test.

    `allowed` are the beginnings of addresses that may be asked for; by default the page's own.
    Those elsewhere (https) get an empty answer, so that no test needs a network.
    """
    faults: list[str] = []
    contexts = []

    def watch(page: Page, allowed: tuple[str, ...]) -> None:
        def dismiss(dialog: Any) -> None:
            faults.append(f"dialog: {dialog.message}")
            dialog.dismiss()

        def look(request: Any) -> None:
            if not request.url.startswith(allowed):
                faults.append(f"request: {request.url}")

        page.on("dialog", dismiss)
        page.on("request", look)
        page.on("pageerror", lambda error: faults.append(f"error: {error}"))
        page.on(
            "console",
            lambda line: faults.append(f"console: {line.text}") if line.type == "error" else None,
        )

    def open_(address: str, width: int = WIDTHS[0], allowed: tuple[str, ...] = ()) -> Page:
        context = browser.new_context(viewport={"width": width, "height": 800})
        contexts.append(context)
        for start in (each for each in allowed if each.startswith("https:")):
            context.route(f"{start}**", lambda route: route.fulfill(status=200, body=""))
        page = context.new_page()
        watch(page, allowed or (address.split("#")[0], "data:", "blob:"))
        page.goto(address)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert not faults, "\n".join(faults)


@pytest.fixture
def check_access() -> Callable[[Page], None]:
    """Fails if axe-core finds a serious or critical fault."""
    from axe_playwright_python.sync_playwright import Axe

    def check(page: Page) -> None:
        found = Axe().run(page).response["violations"]
        grave = [
            f"{fault['id']}: {fault['help']}: {[node['html'] for node in fault['nodes'][:3]]}"
            for fault in found
            if fault["impact"] in GRAVE
        ]
        assert not grave, "\n".join(grave)

    return check


@pytest.fixture
def check_width() -> Callable[[Page], None]:
    """Fails if the page scrolls sideways."""

    def check(page: Page) -> None:
        wide, shown = page.evaluate(
            "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        )
        assert wide <= shown

    return check
