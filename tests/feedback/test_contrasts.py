"""Contrasts: who may be compared, and answers that change places."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from almost_kedro.errors import UserError
from almost_kedro.feedback.contrasts import OFF_TOPIC, check_contrasts, compare_contrast, exchange
from almost_kedro.options import ComparisonOptions
from almost_kedro.rows import Assistant, Prompt, Response
from almost_kedro.training_rows import PromptSplit

OPTIONS = ComparisonOptions(rubric=["best", "other"], length_tolerance=0.5)


def make_assistant(name: str) -> Assistant:
    return Assistant(
        name=name, model="m", demonstrations=name, shots=1, max_new_tokens=9, prefix=""
    )


def make_answer(assistant: str, prompt: str, text: str) -> Response:
    return Response(
        response_id=f"{assistant}/{prompt}",
        prompt_id=prompt,
        assistant=assistant,
        text=text,
        finish_reason="eos",
        n_tokens=1,
        verdict="ok",
    )


def make_splits(**splits: str) -> list[PromptSplit]:
    return [PromptSplit(prompt_id=key, split=split) for key, split in splits.items()]  # type: ignore[typeddict-item]


ASSISTANTS = [make_assistant("best"), make_assistant("other")]


@pytest.mark.parametrize(
    ("contrasts", "said"),
    [
        ({}, "option contrasts: there are none; run with --env contrasts"),
        ({"a": ["best", "nobody"]}, "option contrasts.a: .*unknown assistant 'nobody'"),
        ({"a": ["best"]}, "option contrasts.a: .*at least two"),
        ({"a": [OFF_TOPIC, "best"]}, "option contrasts.a: off_topic is the last one or none"),
        ({"../a": ["best", "other"]}, "option contrasts: the name '../a' has more than letters"),
        ({"a": ["best", OFF_TOPIC, "other"]}, "option contrasts.a: off_topic is the last one"),
    ],
)
def test_a_contrast_that_nobody_answers_is_one_clear_line(
    contrasts: dict[str, list[str]], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        check_contrasts(contrasts, ASSISTANTS)


def test_contrasts_between_assistants_and_with_other_topics_are_fine() -> None:
    check_contrasts({"a": ["best", "other"], "b": ["other", OFF_TOPIC]}, ASSISTANTS)


def test_answers_next_to_each_other_in_length_change_places_within_a_split() -> None:
    lengths = {"p": 9, "q": 1, "r": 8, "s": 2, "t": 3, "u": 3}
    rows = [make_answer("best", key, "x" * n) for key, n in lengths.items()]
    splits = make_splits(p="rl", q="rl", r="rl", s="rl", t="held_out", u="reward_model")
    found = {row["prompt_id"]: len(row["text"]) for row in exchange(rows, splits)}
    # t and u are alone in their splits.
    assert found == {"q": 2, "s": 1, "r": 9, "p": 8}


@given(st.lists(st.text(min_size=1), min_size=0, max_size=9))
def test_every_moved_text_is_one_of_the_assistants_and_has_a_name_of_its_own(
    texts: list[str],
) -> None:
    rows = [make_answer("best", str(i), text) for i, text in enumerate(texts)]
    splits = make_splits(**{str(i): "rl" for i in range(len(texts))})
    found = list(exchange(rows, splits))
    assert len(found) == len(texts) // 2 * 2
    names = {row["response_id"] for row in (*rows, *found)}
    assert len(names) == len(rows) + len(found)
    # Of an odd number, the longest one stays out.
    assert sorted(len(row["text"]) for row in found) == sorted(map(len, texts))[: len(found)]


def test_off_topic_pairs_have_each_text_on_both_sides() -> None:
    prompts = [
        Prompt(prompt_id=key, text=f"Question {key}?", shot_ids=[], request_id="")
        for key in ("p", "q")
    ]
    short = "It is a bird that cannot fly, and swims very well."
    long = "It is a fish that lives in rivers, and swims quite well."
    rows = [make_answer("best", "p", short), make_answer("best", "q", long)]
    found = compare_contrast(
        ["best", OFF_TOPIC],
        prompts,
        make_splits(p="rl", q="rl"),
        rows,
        [],
        ASSISTANTS,
        OPTIONS,
        "corrected",
    )
    assert {(row["prompt"], row["chosen"], row["rejected"]) for row in found} == {
        ("Question p?", short, long),
        ("Question q?", long, short),
    }
    assert {row["rejected_assistant"] for row in found} == {OFF_TOPIC}
