"""The explorer: its document and its page."""

import json
import math
import re
from typing import Any

import pytest
from explorer_sample import (
    ASSISTANTS,
    COMPARISONS,
    LATER_LEDGER,
    LEDGER,
    PROMPTS,
    RESPONSES,
    SCORES,
    SPLITS,
    VERDICTS,
    make_explorer,
)

from almost_kedro.errors import UserError
from almost_kedro.pages.datatables import load_datatables, wrap_module
from almost_kedro.pages.explorer import count_pairs, render_explorer
from almost_kedro.pages.explorer_rows import LONGEST, merge_ledgers
from almost_kedro.pipelines.evaluation.explorer import LEDGERS, write_explorer

HOSTILE = "</script><script>alert(1)</script><!--\x1b[31m\u202e[red]"


def read_document(page: str) -> Any:
    [found] = re.findall(r'<script type="application/json" id="explorer">(.*?)</script>', page)
    return json.loads(found)


def test_the_document_has_everything_once() -> None:
    explorer = make_explorer()
    names = {name: place for place, name in enumerate(explorer["names"])}
    ok = names["ok"]
    assert explorer["assistants"] == ["careful", "plain", "short"]
    assert explorer["edges"] == [
        (0, 1, ["demonstrations"]),
        (0, 2, ["shots", "demonstrations"]),
        (1, 2, ["shots"]),
    ]
    details = ["44 < 99 characters", "75% apart", "0 usable answers", "the as-is model disagrees"]
    assert explorer["details"] == details
    nothing = names["rule_15_nothing"]
    assert explorer["prompts"] == [
        ("seed-a", "Why is the sky blue?", 20, None, [], None),
        ("seed-b", "Bake a cake.", 12, None, [], None),
        ("prompt-1", "Why is grass green?", 19, names["held_out"], [0, 1], None),
        ("prompt-2", "Bake some bread.", 16, names["reward_model"], [1, 2], None),
        (
            "prompt-3",
            "Name a colour.",
            14,
            names["reward_model"],
            [3, "gone"],
            (nothing, nothing, nothing, 2),
        ),
    ]
    assert explorer["answers"][1:3] == [
        ("answer-2", 2, 1, ok, 42, 7, "Grass is green because someone painted it."),
        ("answer-3", 2, 2, ok, 11, 3, "It just is."),
    ]
    assert explorer["answers"][5] == ("answer-6", 4, 1, names["rule_12_empty"], 0, 0, "")
    assert explorer["pairs"] == [
        ("pair-12", 0, 1, None, (1.5, 0.25, 1.0, 2.0)),
        ("pair-13", 0, 2, (ok, names["rule_17_heuristic"], ok, 0), (-1.0, 1.0, 0.0, 0.5)),
        ("pair-45", 3, 4, (names["rule_25_as_is"], ok, names["rule_25_as_is"], 3), None),
        ("pair-23", 1, 2, (names["matched_length"], ok, names["matched_length"], 1), None),
    ]


def test_what_policies_prefer_of_held_out_pairs_stands_by_pair() -> None:
    found = make_explorer()["implicit"]
    assert found == {"pair-12": {"sft": (3.0, -1.25), "dpo": (0.5, 2.0)}}


def test_pairs_are_counted() -> None:
    assert count_pairs(make_explorer()) == {
        "n_kept": 2,
        "n_dropped": 2,
        "n_differ": 3,
        "n_scored": 2,
        "n_wrong": 1,
    }


def test_without_a_ledger_all_are_kept() -> None:
    counts = count_pairs(make_explorer(ledgers=[], held_out_scores=[]))
    assert counts == {"n_kept": 3, "n_dropped": 0, "n_differ": 0, "n_scored": 0, "n_wrong": 0}


def test_a_later_ledger_counts_only_if_it_drops() -> None:
    first, entry = LEDGER[0], LATER_LEDGER[0]
    kept = {**first, "detail": "later"}
    assert merge_ledgers([[first], [kept]]) == {"pair-13": first}  # type: ignore[list-item]
    dropped = {**entry, "row_id": "pair-13"}
    assert merge_ledgers([[first], [dropped]]) == {"pair-13": dropped}  # type: ignore[list-item]


def test_an_answer_outside_the_rubric_says_so() -> None:
    entry = {**LEDGER[2], "row_id": "answer-2", "rule": "rule_14_not_in_rubric"}
    explorer = make_explorer(ledgers=[[entry]])
    assert explorer["names"][explorer["answers"][1][3]] == "rule_14_not_in_rubric"


def test_a_megabyte_is_cut_and_its_length_kept() -> None:
    long = {**RESPONSES[0], "text": "x" * 1_000_000}
    [answer, *_] = make_explorer(responses=[long, *RESPONSES[1:]])["answers"]
    assert (answer[4], answer[6]) == (1_000_000, "x" * LONGEST)


def test_a_diverged_reward_model_has_no_rewards() -> None:
    scores = [{**SCORES[0], "reward_chosen": math.nan}, SCORES[1]]
    pairs = make_explorer(held_out_scores=scores)["pairs"]
    assert [pair[4] is None for pair in pairs] == [True, False, True, True]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"responses": RESPONSES[1:]}, "comparisons name 'answer-1', which is not in responses"),
        ({"prompts": PROMPTS[1:]}, "responses name 'prompt-1', which is not in prompts"),
        ({"prompt_splits": SPLITS[1:]}, "prompts name 'prompt-1', which is not in prompt_splits"),
        ({"assistants": ASSISTANTS[:2]}, "responses name 'short', which is not in assistants"),
    ],
)
def test_rows_of_different_versions_are_refused(changes: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_explorer(**changes)


def test_the_page_holds_each_text_once_and_as_data() -> None:
    hostile = {**RESPONSES[0], "text": HOSTILE}
    explorer = make_explorer(responses=[hostile, *RESPONSES[1:]])
    page = render_explorer(explorer)
    shown = r"</script><script>alert(1)</script><!--\x1b[31m\u202e[red]"
    assert read_document(page)["answers"][0][6] == shown
    assert "<script>alert(1)" not in page
    assert page.count("Grass is green because someone painted it.") == 1
    assert "Here are 2 that were" in page


def test_the_node_reads_the_seed_file() -> None:
    seeds = "Write prompts.\nWhy is the sky blue?\n"
    page = write_explorer(
        seeds,
        PROMPTS,
        SPLITS,
        ASSISTANTS,
        RESPONSES,
        COMPARISONS,
        SCORES,
        VERDICTS,
        **dict(zip(LEDGERS, (LEDGER, LATER_LEDGER, []), strict=True)),
    )
    document = read_document(page)
    assert document["prompts"][0][1] == "Why is the sky blue?"
    assert [pair[0] for pair in document["pairs"]] == ["pair-12", "pair-13", "pair-45", "pair-23"]


def test_a_module_becomes_a_plain_script() -> None:
    module = "var a=/<!--/,b=1;export{b as Other,a as default};\n/* notice */"
    expected = (
        '(()=>{"use strict";var a=/\\x3c!--/,b=1;globalThis.DataTable=a;\n/* notice */\n})();'
    )
    assert wrap_module(module) == expected


@pytest.mark.parametrize(
    "module", ["var a=1;", "export{a as b};", "export{a as default};export{b as default};"]
)
def test_a_module_built_otherwise_is_refused(module: str) -> None:
    with pytest.raises(ValueError, match="does not end with the one export"):
        wrap_module(module)


def test_the_library_comes_whole_with_its_licence() -> None:
    script = load_datatables()
    assert "globalThis.DataTable=" in script
    assert "datatables.net/license" in script
    assert len(script) > 100_000
