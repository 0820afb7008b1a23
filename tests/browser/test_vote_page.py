"""The page on which people vote, used as a voter does."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sessions import kedro, read_document
from vote_sample import read_key, read_page, write_root
from waiting import expect

from almost_kedro.pages.vote import render_vote
from almost_kedro.rows.human_votes import VotePage

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser
OpenPage = Callable[..., "Page"]
widths = pytest.mark.parametrize("width", [1280, 390])
HOSTILE = (
    "<img src=x onerror='window.hacked = 1'></script><script>window.hacked = 1</script>"
    "<svg onload=alert(1)> javascript:alert(1) \x1b[31m\u202e [red] ../../x {{ 7 * 7 }} "
)
SHOWN = HOSTILE.replace("\x1b", "\\x1b").replace("\u202e", "\\u202e")
QUESTIONS = VotePage(
    page="d" * 64,
    questions=[
        {"vote_id": f"v{n}", "question": f"Why {n}?", "left": f"Left {n}", "right": f"Right {n}"}
        for n in range(4)
    ],
)


def write(folder: Path, page: VotePage = QUESTIONS) -> str:
    file = folder / "vote.html"
    file.write_text(render_vote(page), encoding="utf-8")
    return file.as_uri()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write(tmp_path_factory.mktemp("page"))


def save(page: Page, path: Path) -> dict[str, Any]:
    """The file that the page saves."""
    with page.expect_download() as download:
        page.get_by_role("button", name="Save votes").click()
    download.value.save_as(path)
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def read_choices(saved: dict[str, Any]) -> list[tuple[str, str]]:
    return [(vote["vote_id"], vote["choice"]) for vote in saved["votes"]]


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


@widths
def test_a_whole_vote_by_keyboard_is_counted_by_the_command(
    open_page: OpenPage, project: Path, tmp_path: Path, width: int
) -> None:
    root = write_root(tmp_path / "data", HOSTILE)
    file = tmp_path / "vote.html"
    params = ("--env", "smoke", "--params", f"data_root={root}")
    done = kedro(project, "vote", "sft", "base", "--to", str(file), *params)
    assert done.returncode == 0, done.stderr
    page = open_page(file.as_uri(), width)
    press(page, "ArrowLeft", "2", "t", "s", "1")
    expect(page.get_by_role("heading", name="That was the last question")).to_be_focused()
    expect(page.locator("#voted")).to_have_text("5 of 5 done")
    page.get_by_label("Your name").fill("Ada 1 2 s u")
    saved = tmp_path / "ada.json"
    choices = [choice for _, choice in read_choices(save(page, saved))]
    assert choices == ["left", "right", "tie", "skip", "left"]
    done = kedro(project, "vote", "--count", str(saved), *params)
    assert done.returncode == 0, done.stderr
    [found] = read_document(root, "human_votes_metrics")["pages"]
    assert (found["n_people"], found["n_votes"], found["n_skipped"]) == (1, 4, 1)
    sides = [question["a_is"] for question in read_key(root)["questions"]]
    wins = sum(choices[n] == sides[n] for n in (0, 1, 4))
    assert (found["wins_a"], found["ties"], found["wins_b"]) == (wins, 1, 3 - wins)
    # What was shown is what was counted.
    assert page.evaluate("window.hacked") is None
    assert page.locator("main img, main svg, main script:not([type])").count() == 0
    page.get_by_role("button", name="Previous").click()
    last = read_page(file)["questions"][4]
    for part in ("question", "left", "right"):
        expect(page.locator(f"#{part}")).to_have_text(last[part], use_inner_text=False)  # type: ignore[literal-required]
        assert SHOWN.strip() in last[part]  # type: ignore[literal-required]


@widths
def test_buttons_vote_and_lead_to_the_next_question(
    open_page: OpenPage, address: str, width: int, check_width: Callable[[Page], None]
) -> None:
    page = open_page(address, width)
    expect(page.locator("#question")).to_have_text("Why 0?")
    for name in ("Answer 1 is better", "Answer 2 is better", "Tie", "Skip"):
        check_width(page)
        expect(page.get_by_role("button", name=name)).to_be_in_viewport()
        page.get_by_role("button", name=name).click()
    expect(page.locator("#done-title")).to_be_visible()
    expect(page.locator("#choices")).to_be_hidden()
    expect(page.locator("#left-over")).to_have_text(
        "All questions are done. Save your votes below."
    )
    check_width(page)


def test_answers_stand_side_by_side_or_one_below_the_other(
    open_page: OpenPage, address: str
) -> None:
    for width, beside in ((1280, True), (390, False)):
        page = open_page(address, width)
        left, right = (page.locator(f"#{side}").bounding_box() for side in ("left", "right"))
        assert left is not None
        assert right is not None
        assert (left["y"] == right["y"], left["x"] < right["x"]) == (beside, beside)


def test_undo_takes_back_the_last_vote_and_no_more(
    open_page: OpenPage, address: str, tmp_path: Path
) -> None:
    page = open_page(address)
    press(page, "u", "1", "2", "Backspace")
    expect(page.locator("#number")).to_have_text("Question 2 of 4")
    expect(page.locator("#voted")).to_have_text("1 of 4 done")
    press(page, "t", "p", "p", "3")  # back to the first question, which becomes a tie
    expect(page.locator("#number")).to_have_text("Question 3 of 4")
    assert read_choices(save(page, tmp_path / "a.json")) == [("v1", "tie"), ("v0", "tie")]
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("#number")).to_have_text("Question 1 of 4")
    press(page, "u", "u")
    expect(page.get_by_role("button", name="Undo")).to_be_disabled()
    assert read_choices(save(page, tmp_path / "b.json")) == []


def test_one_can_walk_without_voting_and_see_what_is_left(
    open_page: OpenPage, address: str
) -> None:
    page = open_page(address)
    expect(page.get_by_role("button", name="Previous")).to_be_disabled()
    press(page, "n", "2", "n", "n", "n")
    expect(page.locator("#left-over")).to_contain_text("3 of 4 questions have no vote yet")
    press(page, "p", "p", "p")
    expect(page.locator("[data-choice=right]")).to_have_attribute("aria-pressed", "true")
    expect(page.locator("[data-choice=left]")).to_have_attribute("aria-pressed", "false")
    press(page, "n", "n", "1")  # the last one; the first has no vote yet
    expect(page.locator("#number")).to_have_text("Question 1 of 4")


def test_progress_and_name_survive_a_reload_and_are_this_page_s(
    open_page: OpenPage, address: str, tmp_path: Path
) -> None:
    page = open_page(address, allowed=("file:", "data:", "blob:"))
    page.get_by_label("Your name").fill("Ada")
    page.locator("#number").click()
    press(page, "1", "t")
    before = save(page, tmp_path / "before.json")
    page.reload()
    expect(page.locator("#number")).to_have_text("Question 3 of 4")
    expect(page.locator("#voted")).to_have_text("2 of 4 done")
    expect(page.get_by_label("Your name")).to_have_value("Ada")
    after = save(page, tmp_path / "after.json")
    assert {**after, "saved": ""} == {**before, "saved": ""}
    assert (after["voter"], len(after["ballot"])) == ("Ada", 32)
    elsewhere = write(tmp_path, VotePage(page="e" * 64, questions=QUESTIONS["questions"]))
    page.goto(elsewhere)
    expect(page.locator("#voted")).to_have_text("0 of 4 done")


@pytest.mark.parametrize(
    "kept",
    ["{", "null", "7", '{"votes": {"a": 1}, "at": 1e9}', '{"votes": [null, {"vote_id": 3}]}'],
)
def test_garbled_progress_is_left_out(open_page: OpenPage, address: str, kept: str) -> None:
    page = open_page(address)
    page.evaluate("kept => localStorage.setItem(PLACE, kept)", kept)
    page.reload()
    expect(page.locator("#voted")).to_have_text("0 of 4 done")
    expect(page.locator("#forgetful")).to_be_hidden()


def test_a_browser_that_keeps_nothing_says_so_and_votes_all_the_same(
    open_page: OpenPage, tmp_path: Path
) -> None:
    # An address of data has no storage.
    data = base64.b64encode(render_vote(QUESTIONS).encode()).decode()
    page = open_page(f"data:text/html;base64,{data}")
    expect(page.locator("#forgetful")).to_be_visible()
    press(page, "2")
    assert read_choices(save(page, tmp_path / "votes.json")) == [("v0", "right")]


def test_keys_can_be_turned_off_and_a_held_one_votes_once(
    open_page: OpenPage, address: str
) -> None:
    page = open_page(address)
    page.keyboard.down("1")
    page.keyboard.down("1")
    page.keyboard.up("1")
    press(page, "Control+2", "Alt+3")
    expect(page.locator("#voted")).to_have_text("1 of 4 done")
    page.get_by_text("Vote by keys").click()
    page.get_by_label("use these keys").uncheck()
    press(page, "2")
    expect(page.locator("#voted")).to_have_text("1 of 4 done")


def test_a_long_answer_leaves_the_buttons_in_reach(
    open_page: OpenPage, tmp_path: Path, check_width: Callable[[Page], None]
) -> None:
    long = {**QUESTIONS["questions"][0], "left": "word " * 5000, "right": "x" * 100_000}
    page = open_page(write(tmp_path, VotePage(page="f" * 64, questions=[long])), 390)  # type: ignore[list-item]
    check_width(page)
    expect(page.locator("[data-choice=tie]")).to_be_in_viewport()


@widths
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everyone_can_use_it(
    open_page: OpenPage,
    address: str,
    width: int,
    scheme: Any,
    check_access: Callable[[Page], None],
) -> None:
    page = open_page(address, width)
    page.emulate_media(color_scheme=scheme)
    page.locator("details").evaluate("details => { details.open = true }")
    check_access(page)
    press(page, "1", "p")
    expect(page.locator("#number")).to_be_focused()
    expect(page.locator("#number")).to_have_css("outline-style", "solid")
    check_access(page)
    press(page, "n", "1", "2", "3")
    check_access(page)
