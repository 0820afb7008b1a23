"""What is printed: each row once, and nothing in it that acts on a terminal."""

import io
from typing import Any

from made_rows import make_response
from rich.console import Console
from tables_in_memory import REQUESTS, MemoryTable, entry, make_tables, one_run, prompt, walk

from almost_kedro.commands.trace.ancestry import Ancestry
from almost_kedro.commands.trace.show import AncestryTree, shorten, write_headline
from almost_kedro.rows.feedback import Ledger, PromptRequests, Prompts, Responses


def render(ancestry: Ancestry, full: bool = False, **console: Any) -> str:
    file = io.StringIO()
    console = {"width": 10_000, **console}
    tree = AncestryTree(ancestry, lambda step: None, full).draw()
    Console(file=file, highlight=False, **console).print(tree)
    return file.getvalue()


def trace_prompt(text: str, **how: Any) -> str:
    tables = make_tables(MemoryTable("prompts", Prompts, v1=[prompt("p1", "", text)]))
    return render(walk(tables, "p1"), **how)


def test_long_texts_are_cut_and_say_how_long_they_are() -> None:
    assert shorten("x" * 2000, 2000) == "x" * 2000
    assert shorten("x" * 2001, 2000) == "x" * 2000 + "... (2,001 characters)"
    assert shorten("x" * 2001, None) == "x" * 2001
    assert shorten("\x00" * 3, 2) == r"\x00\x00... (3 characters)"


def test_markup_and_emoji_codes_are_plain_text() -> None:
    assert "text: [red]a[/red] [/nonsense] :smile: [link=x]b" in trace_prompt(
        "[red]a[/red] [/nonsense] :smile: [link=x]b"
    )


def test_a_megabyte_is_cut_unless_all_is_asked_for() -> None:
    assert len(trace_prompt("x" * 1_000_000)) < 2500
    assert "(1,000,000 characters)" in trace_prompt("x" * 1_000_000)
    assert "x" * 1_000_000 in trace_prompt("x" * 1_000_000, full=True, width=2**31)


def test_lines_of_a_text_are_indented() -> None:
    assert trace_prompt("one\ntwo\n├── three") == (
        "prompts p1  v1\nshot_ids: s1, s2\ntext: one\n  two\n  ├── three\n"
    )


def test_a_row_is_shown_once_and_named_where_it_comes_again() -> None:
    shown = render(walk(one_run(), "p3"))
    assert shown.splitlines() == [
        "prompts p3  v1",
        "shot_ids: p1, p2",
        "text: Why?",
        "└── request: prompt_requests q3  v1",
        "    round: 0; finish_reason: stop; n_tokens: 3",
        "    output: q3",
        "    verdict: ok",
        "    ├── shot: prompts p1  v1",
        "    │   shot_ids: s1, s2",
        "    │   text: Why?",
        "    │   └── request: prompt_requests q1  v1",
        "    │       round: 0; finish_reason: stop; n_tokens: 3",
        "    │       output: q1",
        "    │       verdict: ok",
        "    │       ├── shot: seed_prompts s1",
        "    │       │   text: Seed s1?",
        "    │       └── shot: seed_prompts s2",
        "    │           text: Seed s2?",
        "    └── shot: prompts p2  v1",
        "        shot_ids: s2, p1",
        "        text: Why?",
        "        └── request: prompt_requests q2  v1",
        "            round: 0; finish_reason: stop; n_tokens: 3",
        "            output: q2",
        "            verdict: ok",
        "            ├── shot: seed_prompts s2 (see above)",
        "            └── shot: prompts p1 (see above)",
    ]


def test_a_row_that_belongs_nearer_to_the_start_is_below() -> None:
    """p1 is a shot of q2, which is shown first, and of q3 itself."""
    tables = one_run()
    rows = [row | {"shot_ids": row["shot_ids"][::-1]} for row in REQUESTS]
    tables["prompt_requests"] = MemoryTable("prompt_requests", PromptRequests, v1=rows)
    lines = [line.strip("│├└─ ") for line in render(walk(tables, "p3")).splitlines()]
    assert lines.index("shot: prompts p1 (see below)") < lines.index("shot: prompts p1  v1")


def test_the_end_of_a_limited_walk_says_so() -> None:
    assert render(walk(one_run(), "p3", depth=1)).splitlines()[-1].strip() == (
        "└── ... (raise --depth for more)"
    )
    assert "--depth" not in render(walk(one_run(), "s1", depth=0))


def test_a_parent_that_is_nowhere_is_named() -> None:
    tables = make_tables(MemoryTable("prompts", Prompts, v1=[prompt("p\n1", "q\x1b\n9")]))
    shown = render(walk(tables, "p\n1"))
    assert shown.startswith("prompts p\\n1  v1\n")
    assert r"└── request: q\x1b\n9 is in no version of prompt_requests" in shown


def test_ledgers_are_quoted_with_both_rule_sets() -> None:
    row = entry("p1", "rule_5") | {"detail": "too\nlong \x1b[1m", "original": "ok"}
    tables = make_tables(
        MemoryTable("prompts", Prompts, v1=[prompt("p1", "")]),
        MemoryTable("ledger_prompts", Ledger, v1=[row]),
    )
    assert render(walk(tables, "p1")).splitlines()[-1] == (
        r"ledger_prompts: rule: rule_5; detail: too\nlong \x1b[1m; original: ok; corrected: rule_5"
    )


def test_a_deep_tree_leaves_room_for_text() -> None:
    ancestry = walk(one_run(), "p3")
    drawing = AncestryTree(ancestry, lambda step: None, full=False)
    drawing.draw()
    assert drawing.depth == 4


def test_a_headline_is_the_verdict_and_the_first_line() -> None:
    answer = make_response(text="\n one \x1b\ntwo", verdict="rule_12_short")
    assert write_headline(Responses, answer) == r"[rule_12_short] one \x1b ..."
    long = make_response(text="x" * 200)
    assert write_headline(Responses, long) == "x" * 160 + "... (200 characters)"
    assert write_headline(Responses, long, full=True) == "x" * 200
    kept = entry("a", "ok") | {"original": "rule_12_well", "detail": "starts with 'Wellness'"}
    assert write_headline(Ledger, kept) == (
        "[original rule_12_well, corrected ok] starts with 'Wellness'"
    )
