"""People's votes as a table."""

from report_findings import make_human_votes

from almost_kedro.pages.report.human_votes import tabulate_human_votes

SHOWN = "60.0% [55.0%, 65.0%]"


def test_a_page_s_votes_are_one_table() -> None:
    [table] = tabulate_human_votes({"pages": [make_human_votes()]})
    assert table.caption == "sft against base, page 01234567"
    assert table.rows == [
        ("people", "2"),
        ("questions with a vote", "1,100 of 1,200"),
        ("votes, without skips", "1,900"),
        ("skips", "3"),
        ("wins of sft", "1,000"),
        ("ties", "280"),
        ("wins of base", "620"),
        ("win rate of sft (a tie is half)", SHOWN),
        ("the first answer wins (a tie is half)", "50.0% [45.0%, 55.0%]"),
        ("two votes on one question agree", f"{SHOWN}, 800 pairs"),
        ("Krippendorff's alpha", "0.26"),
        ("reward model agrees with most people", f"{SHOWN}, 40 questions"),
        ("judge (critic) agrees with most people", "50.0% [45.0%, 55.0%], 1,050 questions"),
        ("version of open_answers", "V4"),
    ]


def test_what_one_person_alone_can_not_tell_is_a_dash() -> None:
    alone = make_human_votes(agreement=None, alpha=None, judges={})
    [table] = tabulate_human_votes({"pages": [alone]})
    rows = dict(table.rows)
    assert rows["two votes on one question agree"] == "-"
    assert rows["Krippendorff's alpha"] == "-"
    assert not any("agrees with most people" in row for row in rows)
