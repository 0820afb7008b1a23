"""The explorer, clicked through."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from explorer_sample import (
    ASSISTANTS,
    COMPARISONS,
    LEDGER,
    PROMPTS,
    RESPONSES,
    SEEDS,
    make_explorer,
)
from made_rows import make_seed
from waiting import expect, go_to

from almost_kedro.pages.explorer import render_explorer

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser
OpenPage = Callable[..., "Page"]
widths = pytest.mark.parametrize("width", [1280, 390])
HOSTILE = (
    "<img src=x onerror='window.hacked = 1'><script>window.hacked = 1</script>"
    "</script><script>window.hacked = 1</script><!-- &lt;b&gt; &amp; "
    "<svg onload=alert(1)> javascript:alert(1) \x1b[31m\u202e [red] ../../x {{ 7 * 7 }}"
)


def write(folder: Path, **changes: Any) -> str:
    file = folder / "explorer.html"
    file.write_text(render_explorer(make_explorer(**changes)), encoding="utf-8")
    return file.as_uri()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write(tmp_path_factory.mktemp("page"))


LINKS = "links => links.map(link => link.getAttribute('href').split('=')[1])"


def check_links(page: Page, pairs: list[str]) -> None:
    """Check which pairs the table shows. It is drawn a moment after a click."""
    for _ in range(50):
        found = page.locator("#pairs tbody a").evaluate_all(LINKS)
        if found == pairs:
            return
        page.wait_for_timeout(100)
    assert found == pairs


@widths
def test_all_pairs_are_there_kept_ones_first(
    open_page: OpenPage, address: str, width: int, check_width: Callable[[Page], None]
) -> None:
    page = open_page(address, width)
    check_links(page, ["pair-12", "pair-13", "pair-45", "pair-23"])
    expect(page.locator("#pairs tbody a").nth(2)).to_have_text("Bake some bread.")
    cells = page.locator("#pairs tbody tr").nth(1).locator("td")
    for column, text in enumerate(["kept", "+33", "−2.00", "−0.50"], start=4):  # noqa: RUF001
        expect(cells.nth(column)).to_have_text(text)
    expect(page.locator(".dt-info").first).to_have_text("1 to 4 of 4 pairs")
    check_width(page)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("chlorophyll", ["pair-12", "pair-13"]),
        ("PAINTED just", ["pair-23"]),
        ('"bake some"', ["pair-45"]),
        ('"some bake"', []),
        ("pair-23", ["pair-23"]),
        ("answer-5", ["pair-45"]),
        ("prompt-1", ["pair-12", "pair-13", "pair-23"]),
        ("", ["pair-12", "pair-13", "pair-45", "pair-23"]),
    ],
)
def test_search_finds_texts_and_ids(
    open_page: OpenPage, address: str, query: str, found: list[str]
) -> None:
    page = open_page(address)
    page.get_by_label("Search").fill(query)
    check_links(page, found)


@pytest.mark.parametrize(
    ("label", "option", "found"),
    [
        ("Assistants differ in", "shots", ["pair-13", "pair-45", "pair-23"]),
        ("Assistants differ in", "only shots", ["pair-23"]),
        ("Chosen over rejected", "careful > plain", ["pair-12"]),
        ("Assistant on either side", "plain", ["pair-12", "pair-23"]),
        ("Prompt's split", "reward_model", ["pair-45"]),
        ("Kept or dropped", "kept", ["pair-12", "pair-13"]),
        ("Kept or dropped", "dropped by matched_length", ["pair-23"]),
        ("Rule sets", "only corrected keeps it", ["pair-13"]),
        ("Rule sets", "only original keeps it", ["pair-45", "pair-23"]),
        ("Reward model", "is right", ["pair-12"]),
        ("Reward model", "both models are wrong", ["pair-13"]),
        ("Reward model", "the two models disagree", ["pair-12"]),
    ],
)
def test_each_filter_filters(
    open_page: OpenPage, address: str, label: str, option: str, found: list[str]
) -> None:
    page = open_page(address)
    page.get_by_label(label).select_option(label=option)
    check_links(page, found)
    expect(page.locator("#used")).to_have_text("(1 in use)")
    page.get_by_role("button", name="Show all").click()
    check_links(page, ["pair-12", "pair-13", "pair-45", "pair-23"])


def test_a_range_of_margins_leaves_out_pairs_without_one(open_page: OpenPage, address: str) -> None:
    page = open_page(address)
    page.get_by_label("Margin from").fill("-3")
    check_links(page, ["pair-12", "pair-13"])
    page.get_by_label("to", exact=True).fill("1.2")
    check_links(page, ["pair-13"])


@widths
def test_one_click_shows_where_the_reward_model_is_wrong(
    open_page: OpenPage, address: str, width: int
) -> None:
    page = open_page(address, width)
    page.get_by_role("button", name="The reward model is wrong (1)").click()
    check_links(page, ["pair-13"])


def test_pairs_without_a_margin_come_last_either_way(open_page: OpenPage, address: str) -> None:
    page = open_page(address)
    header = page.get_by_role("columnheader", name=re.compile("^Margin"))
    header.click()
    check_links(page, ["pair-12", "pair-13", "pair-23", "pair-45"])
    header.click()
    check_links(page, ["pair-13", "pair-12", "pair-45", "pair-23"])
    page.get_by_role("columnheader", name=re.compile("^Longer")).click()
    check_links(page, ["pair-13", "pair-23", "pair-12", "pair-45"])


@widths
def test_a_pair_shows_its_differences_and_facts(
    open_page: OpenPage, address: str, width: int, check_width: Callable[[Page], None]
) -> None:
    page = open_page(address, width)
    page.locator("#pairs tbody a").nth(0).click()
    expect(page.locator(".columns ins")).to_have_text(["of chlorophyll in"])
    expect(page.locator(".columns del")).to_have_text(["someone painted"])
    expect(page.locator(".columns ins")).to_have_css("text-decoration-line", "underline")
    rewards = page.get_by_role("row", name="Held-out reward").get_by_role("cell")
    expect(rewards).to_have_text(["1.00", "2.00", "−1.00"])  # noqa: RUF001
    implicit = page.get_by_role("row", name="Implicit reward, sft").get_by_role("cell")
    expect(implicit).to_have_text(["3.00", "−1.25", "+4.25"])  # noqa: RUF001
    expect(page.get_by_role("row", name="Implicit reward")).to_have_count(2)
    page.get_by_label("Mark words").uncheck()
    expect(page.locator(".columns ins")).to_have_count(0)
    expect(page.locator("pre")).to_contain_text("kedro trace pair-12 --forward")
    check_width(page)


def test_what_became_of_a_pair_is_said(open_page: OpenPage, address: str) -> None:
    page = open_page(f"{address}#comparison=pair-13")
    body = page.locator("#detail-body")
    kept = "Kept. The original rules drop it by rule_17_heuristic, the corrected rules keep it."
    expect(body).to_contain_text(kept)
    go_to(page, "comparison=pair-23")
    expect(body).to_contain_text("Dropped by matched_length.")
    expect(body).to_contain_text("75% apart")


@widths
def test_ancestry_is_walked_by_clicking(open_page: OpenPage, address: str, width: int) -> None:
    page = open_page(f"{address}#prompt=prompt-3", width)
    steps = page.locator(".steps > li")
    expect(steps).to_have_count(2)
    expect(steps.nth(1)).to_contain_text("gone: in no dataset")
    page.locator("summary", has_text="Bake some bread.").click()
    page.locator(".steps .steps summary", has_text="Why is grass green?").click()
    seeds = page.locator(".steps .steps .steps > li")
    expect(seeds).to_have_text([re.compile("^seed prompt")] * 2)
    seeds.nth(0).get_by_role("link").click()
    page.get_by_role("heading", name="Seed prompt seed-a").wait_for()
    # ... and forward again: what was made with the seed.
    page.get_by_role("link", name="prompt-1").click()
    page.get_by_role("heading", name="Prompt prompt-1").wait_for()
    page.get_by_role("link", name="pair-23").click()
    page.get_by_role("heading", name="Comparison pair-23").wait_for()
    page.go_back()
    page.get_by_role("heading", name="Prompt prompt-1").wait_for()


def test_a_prompt_without_pairs_says_why(open_page: OpenPage, address: str) -> None:
    page = open_page(f"{address}#prompt=prompt-3")
    body = page.locator("#detail-body")
    why = "Dropped by rule_15_nothing. Both rule sets drop it by rule_15_nothing."
    expect(body).to_contain_text(why)
    expect(body).to_contain_text("plain – not used: rule_12_empty")  # noqa: RUF001


def test_neighbours_follow_the_filter_and_the_way_back_keeps_it(
    open_page: OpenPage, address: str
) -> None:
    page = open_page(address)
    page.get_by_label("Assistants differ in").select_option(label="shots")
    check_links(page, ["pair-13", "pair-45", "pair-23"])
    page.locator("#pairs tbody a").nth(0).click()
    expect(page.locator("#neighbours")).to_have_text(re.compile("1 of 3$"))
    page.get_by_role("link", name="Next pair").click()
    page.get_by_role("heading", name="Comparison pair-45").wait_for()
    page.get_by_role("link", name="Back to the list").click()
    page.locator("#list").wait_for()
    check_links(page, ["pair-13", "pair-45", "pair-23"])


def test_an_address_of_nothing_says_so(open_page: OpenPage, address: str) -> None:
    page = open_page(f"{address}#comparison=%E0%A4%A&<b>")
    expect(page.locator("#detail-body")).to_contain_text("This page has no comparison")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # the link that skips to the content
    expect(page.locator("#detail")).to_be_visible()


def test_words_that_only_one_text_has_are_marked(open_page: OpenPage, address: str) -> None:
    page = open_page(address)
    write_marked = """([text, other]) => {
      const element = make("div");
      writeMarked(element, text, other, "ins");
      return element.innerHTML;
    }"""
    for text, other, expected in (
        ("The red,  big cat.\nYes!", "Yes, the CAT", "The <ins>red,  big</ins> cat.\nYes!"),
        (" - one\n", "", " - <ins>one</ins>\n"),
        ("", "one", ""),
        ("Straße 5", "straße", "Straße <ins>5</ins>"),
        ("!" * 20_000 + "a", "a", "!" * 20_000 + "a"),
    ):
        assert page.evaluate(write_marked, [text, other]) == expected


@widths
def test_hostile_text_runs_nothing(
    open_page: OpenPage, tmp_path: Path, width: int, check_width: Callable[[Page], None]
) -> None:
    name = "../../<img src=x onerror=alert(1)>"
    hostile = {"text": HOSTILE}
    renamed = [{**ASSISTANTS[0], "name": name}, *ASSISTANTS[1:]]
    responses = [
        {**row, "assistant": name if row["assistant"] == "careful" else row["assistant"]}
        for row in RESPONSES
    ]
    responses[0] = {**responses[0], "text": "1 " * 500_000, "assistant": name}
    responses[1] = {**responses[1], **hostile}
    responses[2] = {**responses[2], "text": HOSTILE + "x" * 1_000_000}
    page = open_page(
        write(
            tmp_path,
            seeds=[make_seed("seed-a", HOSTILE), SEEDS[1]],
            prompts=[{**row, **hostile} for row in PROMPTS],
            assistants=renamed,
            responses=responses,
            ledgers=[[{**row, "rule": HOSTILE, "detail": HOSTILE} for row in LEDGER]],
        ),
        width,
    )
    check_width(page)
    page.get_by_label("Search").fill("<img src=x &amp;")
    check_links(page, ["pair-12", "pair-13", "pair-45", "pair-23"])
    for kind, ids in (
        ("comparison", [row["comparison_id"] for row in COMPARISONS] + ["pair-23"]),
        ("prompt", ["prompt-1", "prompt-3", "seed-a", HOSTILE]),
    ):
        for id_ in ids:
            go_to(page, f"{kind}={id_}")
            check_width(page)
            for summary in page.locator("summary").all():
                if summary.is_visible():
                    summary.click()
    page.wait_for_timeout(100)
    assert page.evaluate("window.hacked") is None
    assert page.locator("main img, main svg, main script:not([type])").count() == 0
    go_to(page, "comparison=pair-23")
    page.get_by_role("heading", name="Comparison pair-23").wait_for()
    text = str(page.locator("#detail-body .text").nth(1).text_content())
    assert text == HOSTILE.replace("\x1b", "\\x1b").replace("\u202e", "\\u202e")
    expect(page.get_by_text("Cut after 20,000 of 1,000,")).to_have_count(1)


@widths
def test_everyone_can_use_it(
    open_page: OpenPage, address: str, width: int, check_access: Callable[[Page], None]
) -> None:
    page = open_page(address, width)
    page.locator("#more").evaluate("details => { details.open = true }")
    check_access(page)
    page.locator("#pairs tbody a").nth(1).click()
    page.locator("#detail").wait_for()
    check_access(page)
    go_to(page, "prompt=prompt-3")
    page.locator(".steps summary").first.click()
    check_access(page)


def test_the_keyboard_is_enough(open_page: OpenPage, address: str) -> None:
    page = open_page(address)
    page.locator("#pairs tbody a").nth(0).focus()
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Comparison pair-12").wait_for()
    expect(page.locator("#detail-title")).to_be_focused()
    page.get_by_role("link", name="Back to the list").focus()
    page.keyboard.press("Enter")
    page.locator("#list").wait_for()
    header = page.locator("#pairs th [role=button]").nth(2)
    header.focus()
    page.keyboard.press("Enter")
    check_links(page, ["pair-13", "pair-23", "pair-12", "pair-45"])
