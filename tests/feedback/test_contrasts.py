"""Contrasts: who may be compared, and what is compared."""

import pytest
from made_rows import make_assistant, make_comparison, make_prompt, make_response

from almost_kedro.errors import UserError
from almost_kedro.feedback.contrasts import (
    check_contrasts,
    check_parts,
    compare_contrast,
    select_contrast,
)
from almost_kedro.options.feedback import ComparisonOptions

OPTIONS = ComparisonOptions(rubric=["other", "best"], length_control="none")


OFF = "best-off-topic"
ASSISTANTS = [make_assistant("best"), make_assistant("other"), make_assistant(OFF, off_topic=True)]


@pytest.mark.parametrize(
    ("contrasts", "said"),
    [
        ({}, "option contrasts: there are none; run with --env contrasts"),
        ({"a": ["best", "nobody"]}, "option contrasts.a: .*unknown assistant 'nobody'"),
        ({"a": ["best"]}, "option contrasts.a: .*at least two"),
        ({"a": [OFF, "best"]}, f"option contrasts.a: .*{OFF}' is off topic and can't be the best"),
        ({"../a": ["best", "other"]}, "option contrasts: the name '../a' has more than letters"),
    ],
)
def test_a_contrast_that_nobody_answers_is_one_clear_line(
    contrasts: dict[str, list[str]], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        check_contrasts(contrasts, ASSISTANTS)


def test_contrasts_between_assistants_and_with_other_topics_are_fine() -> None:
    check_contrasts({"a": ["best", "other"], "b": ["best", OFF, "other"]}, ASSISTANTS)


@pytest.mark.parametrize(
    ("rubric", "pairs"),
    [
        (["best", "other"], {("best", "other")}),
        (["best", OFF, "other"], {("best", OFF), ("best", "other"), (OFF, "other")}),
    ],
)
def test_a_contrast_is_compared_by_its_own_rubric(
    rubric: list[str], pairs: set[tuple[str, str]]
) -> None:
    rows = [make_response("p1", name, name * 20) for name in ("best", "other", OFF)]
    prompts = [make_prompt("p1")]
    found = compare_contrast(rubric, prompts, rows, [], ASSISTANTS, OPTIONS, "corrected")
    assert {(row["chosen_assistant"], row["rejected_assistant"]) for row in found} == pairs


RUBRIC = ["best", ["other", "as good"], OFF]
CONTRASTS = {
    "quality": ["best", "other"],
    "topic": ["best", OFF],
    "all": ["best", "as good", OFF],
    "tie": ["other", "as good"],
    "upside_down": ["other", "best"],
    "twice": ["best", "best"],
    "one": ["best"],
    "stranger": ["best", "nobody"],
}


def test_parts_of_the_rubric_in_its_order_are_fine_as_members() -> None:
    check_parts(["quality", "topic", "all"], CONTRASTS, RUBRIC)
    check_parts([], {}, RUBRIC)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("absent", "'absent' is unknown; contrasts has quality, topic, "),
        ("stranger", "'stranger' has 'nobody', whom comparisons.rubric does not rank"),
        ("tie", "'tie' must name two or more assistants in the order of comparisons.rubric"),
        ("upside_down", "'upside_down' must name .*; found other, best"),
        ("twice", "'twice' must name .*without ties; found best, best"),
        ("one", "'one' must name two or more"),
    ],
)
def test_a_member_that_is_no_part_of_the_rubric_is_one_clear_line(name: str, said: str) -> None:
    with pytest.raises(UserError, match=f"option reward_model.ensemble: contrast {said}"):
        check_parts(["quality", name], CONTRASTS, RUBRIC)


def test_without_any_contrast_it_says_how_to_name_one() -> None:
    with pytest.raises(UserError, match=r"contrasts has none. Name it there, such as {topic: \["):
        check_parts(["topic", "size"], {}, RUBRIC)


def test_a_contrasts_comparisons_are_those_between_whom_it_names() -> None:
    edges = [("best", "other"), ("best", OFF), ("other", OFF), ("best", "as good")]
    rows = [
        make_comparison(f"c{n}", chosen_assistant=chosen, rejected_assistant=rejected)
        for n, (chosen, rejected) in enumerate(edges)
    ]

    def select(name: str) -> list[str]:
        return [row["comparison_id"] for row in select_contrast(CONTRASTS[name], rows)]

    assert select("quality") == ["c0"]
    assert select("all") == ["c1", "c3"]
    assert select("tie") == []
