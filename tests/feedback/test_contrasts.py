"""Contrasts: who may be compared, and what is compared."""

import pytest
from made_rows import make_assistant, make_prompt, make_response

from almost_kedro.errors import UserError
from almost_kedro.feedback.contrasts import check_contrasts, compare_contrast
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
