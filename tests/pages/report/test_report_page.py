"""The report as a page."""

import html
import json
import re
from itertools import pairwise
from typing import Any

import pytest
from report_findings import (
    EDGE,
    make_chart,
    make_findings,
    make_human_votes,
    make_metrics,
    make_reward_report,
    make_run,
)

from almost_kedro.pages.report import make_report
from almost_kedro.pages.report.charts import CHARTS
from almost_kedro.pages.report.provenance import link_explorer, tabulate_options, tabulate_versions

LIMIT = 6_000_000
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\x1b[31m\u202e[red]../../x"
PLOTLY = re.compile(r"<script>/\*.*?</script>", re.DOTALL)


@pytest.fixture(scope="module")
def page() -> str:
    return make_report(make_findings())


def strip(page: str) -> str:
    """The page without its own scripts."""
    return re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)


def test_it_begins_with_the_verdict_then_the_caveats(page: str) -> None:
    text = strip(page)
    places = [text.index(f'id="{name}"') for name in ("verdict", "models", "dialogues", "origin")]
    assert places == sorted(places)
    assert text.index("Did the reward model learn?") < text.index("Before you quote this")


def test_headings_skip_no_level(page: str) -> None:
    levels = [int(level) for level in re.findall(r"<h([1-6])", strip(page))]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b <= a + 1 for a, b in pairwise(levels))


def test_each_chart_has_a_caption_its_figures_and_its_description(page: str) -> None:
    [found] = re.findall(r'<script type="application/json" id="charts">(.*?)</script>', page)
    assert set(json.loads(found)) == {chart.plot for chart in CHARTS if chart.panels is None}
    text = html.unescape(strip(page))
    for chart in CHARTS:
        if chart.panels is None:
            assert f"<figcaption>{chart.caption}</figcaption>" in text
            assert f'data-chart="{chart.plot}"' in text
    assert "<summary>The same in figures</summary>" in text


def test_each_table_has_a_caption_and_each_row_a_name(page: str) -> None:
    for table in re.findall(r"<table>.*?</table>", page, re.DOTALL):
        assert table.count("<caption>") == 1
        body = table[table.index("<tbody>") :]
        assert body.count("<tr>") == body.count('<th scope="row">')


def test_it_says_what_ended_the_answers_of_each_policy(page: str) -> None:
    _, table = page.split("<caption>What ended the answers to test prompts</caption>")
    cells = re.findall(r"<t[hd](?: [^>]*)?>([^<]*)<", table[: table.index("</table>")])
    assert cells[5:] == ["sft", "40", "36", "2", "2", "rl", "40", "36", "2", "2"]


def test_it_loads_nothing_from_elsewhere(page: str) -> None:
    assert (
        re.findall(r'(?:src|href)="(?!#)([^"]*)"', strip(page))
        == ["../../explorer.html/2026-01-02T03.04.05.678Z/explorer.html"] * 2
    )
    assert "default-src 'none'" in html.unescape(page)


def test_what_a_model_wrote_does_nothing() -> None:
    page = make_report(make_findings(HOSTILE))
    text = strip(page)
    assert "<img" not in page.replace(PLOTLY.search(page)[0], "")  # type: ignore[index]
    assert "alert(1)" in text
    assert page.count("<script>alert") == 0
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert r"\x1b[31m\u202e[red]../../x" in text


def test_names_are_text_like_any_other() -> None:
    metrics = make_metrics()
    metrics["evaluation_metrics"]["questions"]["judge"] = HOSTILE
    run = {**make_run(), "session_id": "../../x<script>", "git_commit": HOSTILE}
    page = make_report(make_findings(run=run, metrics=metrics))
    assert "../../explorer.html/..%2F..%2Fx%3Cscript%3E/explorer.html" in page
    assert page.count("<script>alert") == 0


def test_a_line_of_a_megabyte_is_cut() -> None:
    page = make_report(make_findings("x" * 1_000_000))
    assert len(strip(page)) < 100_000
    assert "[... 1,000,000 characters in all]" in page


def test_it_stays_below_six_megabytes_whatever_the_run() -> None:
    many = list(range(20_000))
    plots = {chart.plot: make_chart(many, [0.123456789 * i for i in many]) for chart in CHARTS}
    long = "A dialogue of some length. " * 1000
    row: dict[str, Any] = {"original": "ok", "corrected": "ok", "rule": "ok", "parent_ids": []}
    ledger = [{"row_id": f"r{i}", "detail": long, **row} for i in many]
    findings = make_findings(long, plots=plots, ledgers={"ledger_responses": ledger})
    assert len(make_report(findings).encode()) < LIMIT


def test_assistants_are_named_without_the_model_that_all_share() -> None:
    audited = {**make_reward_report(), "n_trained_on": 50}
    audit = {
        "by_edge": {EDGE: audited},
        "by_factor": {"shots": {"n": 0, "n_trained_on": 9, "note": "not tested"}},
    }
    page = strip(make_report(make_findings(rule_audit=audit)))
    assert "A-3shot over B-1shot" in page
    assert "tiny-A" not in page
    assert "Assistants are named without their model, which is tiny." in page


def test_the_rule_audit_is_shown_if_it_was_run(page: str) -> None:
    assert "The rules were not audited." in page
    audit = {"by_edge": {EDGE: {**make_reward_report(), "n_trained_on": 50}}, "by_factor": {}}
    text = strip(make_report(make_findings(rule_audit=audit)))
    assert "The rules were not audited." not in text
    assert 'data-chart="rule_audit_plot"' in text
    assert "V1; the comparisons shown here have version V2" in text


def test_without_any_comparison_there_is_still_a_report() -> None:
    nothing = {"n": 0, "n_prompts": 0}
    metrics = make_metrics(reward_model_metrics=nothing, held_out_reward_model_metrics=nothing)
    metrics["comparisons_metrics"] |= {"n_comparisons": 0, "edges": {}, "factors": {}}
    metrics["reward_model_seeds_metrics"] = {"n_seeds": 2}
    metrics["gate"] = {"passed": False, "reasons": ["nothing held out"]}
    page = make_report(
        make_findings(
            metrics=metrics,
            plots={chart.plot: make_chart([], []) for chart in CHARTS},
            ledgers={},
            questions=[],
            answers=[],
            votes=[],
            test_answers=[],
        )
    )
    assert "Unknown: there are no held-out comparisons." in page
    assert "too few comparisons" in page


def test_several_seeds_are_all_shown() -> None:
    metrics = make_metrics(reward_model_seeds_metrics={"n_seeds": 2, "accuracies": [0.5, 0.625]})
    text = " ".join(strip(make_report(make_findings(metrics=metrics))).split())
    assert "Trained with 2 seeds, it is right in 50.0%, 62.5%." in text


def test_options_are_flat_and_whole() -> None:
    options = {"rl": {"steps": 8, "watch": {"every": None}}, "seed": 0, "contrasts": {}, "a": "x"}
    assert tabulate_options(options).rows == (
        ("rl.steps", "8"),
        ("rl.watch.every", "null"),
        ("seed", "0"),
        ("contrasts", "{}"),
        ("a", "x"),
    )


def test_versions_say_which_run_made_them() -> None:
    table = tabulate_versions({"prompts": "V2", "gate": "V1"}, "V2")
    assert table.rows == (("prompts", "V2", "this run"), ("gate", "V1", "an earlier run"))


def test_the_link_to_the_explorer_is_relative() -> None:
    assert link_explorer("2026-01-02T03.04") == "../../explorer.html/2026-01-02T03.04/explorer.html"


def test_people_s_votes_stand_there_once_they_are_counted(page: str) -> None:
    assert "Nobody was asked." in page
    counted = make_report(
        make_findings(
            human_votes={"pages": [make_human_votes(), make_human_votes(model_b="prompted")]}
        )
    )
    text = html.unescape(strip(counted))
    assert "Nobody was asked." not in text
    assert "(version\nV3)" in text
    for pair in ("sft against base", "sft against prompted"):
        assert f"<caption>{pair}, page 01234567</caption>" in text
