"""What a page shows, waited for: pages draw a moment after a click or a new address."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

SECONDS = 30


def expect(locator: Locator) -> Any:
    """Playwright's assertions about `locator`; each waits until it holds or time is up."""
    from playwright.sync_api import expect as expect_within

    expect_within.set_options(timeout=1000 * SECONDS)
    return expect_within(locator)


def go_to(page: Page, fragment: str) -> None:
    """Change the address's fragment to another one; done when the page has followed."""
    page.evaluate(
        """fragment => new Promise(resolve => {
          addEventListener("hashchange", resolve, { once: true });
          location.hash = fragment;
        })""",
        fragment,
    )


def wait_for(condition: Any, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)
