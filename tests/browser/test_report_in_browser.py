"""The report and the page that compares runs, in a real browser."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from report_findings import make_chart, make_findings
from sessions import kedro
from waiting import expect

from almost_kedro.pages.report import make_report
from almost_kedro.pages.report.charts import CHARTS

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser
OpenPage = Callable[..., "Page"]
widths = pytest.mark.parametrize("width", [1280, 390])
HOSTILE = (
    "<img src=x onerror='window.hacked = 1'></script><script>window.hacked = 1</script>"
    "<svg onload=alert(1)> javascript:alert(1) \x1b[31m\u202e [red] ../../x {{ 7 * 7 }}"
)


@pytest.fixture(scope="module")
def report(evaluated: Path) -> Path:
    """Of real sessions."""
    [file] = evaluated.glob("08_reporting/report.html/*/report.html")
    return file


@widths
def test_it_shows_a_verdict_and_every_chart(
    open_page: OpenPage,
    report: Path,
    width: int,
    check_access: Callable[[Page], None],
    check_width: Callable[[Page], None],
) -> None:
    page = open_page(report.as_uri(), width)
    expect(page.get_by_role("heading", level=1)).to_have_text("Did alignment work?")
    for question in ("Did the reward model learn?", "Are the trained models better"):
        expect(page.get_by_text(question)).to_be_visible()
    asked = page.locator("[data-chart]")
    assert asked.count() >= 8
    expect(asked.filter(has=page.locator(".main-svg"))).to_have_count(asked.count())
    check_width(page)
    check_access(page)


def test_it_leads_to_the_comparisons_of_its_run(open_page: OpenPage, report: Path) -> None:
    folder = report.parents[2].as_uri()
    page = open_page(report.as_uri(), allowed=(folder, "data:", "blob:"))
    page.get_by_role("link", name="Browse the comparisons of this run").click()
    page.wait_for_url("**/explorer.html")
    expect(page.get_by_role("heading", level=1)).to_have_text("Comparisons, one by one")
    page.locator("#pairs tbody a").first.click()
    expect(page.get_by_role("heading", name="Where the prompt comes from")).to_be_visible()


@widths
def test_what_models_wrote_does_nothing(
    open_page: OpenPage, tmp_path: Path, width: int, check_width: Callable[[Page], None]
) -> None:
    chart = make_chart([HOSTILE, "b"], [0.5, 0.6], text=[HOSTILE, "b"], name=HOSTILE)
    findings = make_findings(HOSTILE, plots={each.plot: chart for each in CHARTS})
    file = tmp_path / "report.html"
    file.write_text(make_report(findings), encoding="utf-8")
    page = open_page(file.as_uri(), width)
    page.locator(".js-plotly-plot").first.wait_for()
    assert page.evaluate("window.hacked") is None
    expect(page.get_by_text("<svg onload=alert(1)>").nth(3)).to_be_attached()
    check_width(page)


def test_the_page_that_compares_runs_opens(
    project: Path,
    evaluated: Path,
    tmp_path: Path,
    open_page: OpenPage,
    check_access: Callable[[Page], None],
) -> None:
    file = tmp_path / "compare.html"
    place = ["--env", "smoke", "--params", f"data_root={evaluated}"]
    done = kedro(project, "compare", "latest~1", "latest", *place, "--page", str(file))
    assert done.returncode == 0, done.stderr
    page = open_page(file.as_uri(), 390)
    expect(page.get_by_role("table").first).to_be_visible()
    check_access(page)
