"""What is read of a judge's review, and what is not."""

import time
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from almost_kedro.evaluation.reviews import parse_review

# All of them say 8 and 7.
FORMS = [
    "8 7",
    "8 7\nAnswer 1 says why.",
    "8 7.",
    "8.0 7.0",
    "8, 7",
    "8,7",
    "8; 7",
    "8 | 7",
    "| 8 | 7 |",
    "8 and 7",
    "(8, 7)",
    "[8, 7]",
    "[[8]] [[7]]",
    "<8> <7>",
    "**8** 7",
    "**8** **7**",
    "**8 7**",
    "__8__ __7__",
    "`8 7`",
    "# 8 7",
    "> 8 7",
    "```\n8 7\n```\nAnswer 1 says why.",
    "```text\n8 7\n```",
    "8/10 7/10",
    "8 / 10, 7 / 10",
    "**8/10** **7/10**",
    "8/10\n7/10",
    "8 out of 10, 7 out of 10",
    "8 points, 7 points",
    "8\n7\n\nAnswer 1 says why.",
    "- 8\n- 7",
    # Names of the answers
    "Assistant 1: 8, Assistant 2: 7",
    "Assistant 1: 8. Assistant 2: 7.",
    "Assistant 1: 8 Assistant 2: 7",
    "Answer 1: 8/10, Answer 2: 7/10",
    "Answer 1 - 8, Answer 2 - 7",
    "Answer 2: 7, Answer 1: 8",
    "Answer 1: 8\nAnswer 2: 7\n3 reasons follow.",
    "Answer 2: 7\nAnswer 1: 8",
    "**Answer 1:** 8\n**Answer 2:** 7",
    "**Answer 1**: **8**; **Answer 2**: **7**",
    "Score of answer 1: 8\n\nScore of answer 2: 7",
    "Answer 1 score: 8/10\nAnswer 2 score: 7/10",
    "Answer A: 8\nAnswer B: 7",
    "A: 8, B: 7",
    "First answer: 8, second answer: 7",
    "1. 8\n2. 7",
    "1) 8 2) 7",
    "1: 8, 2: 7",
    '{"answer_1": 8, "answer_2": 7}',
    '```json\n{\n  "answer_1": 8,\n  "answer_2": 7\n}\n```',
    # Headings
    "Scores: 8 7",
    "Scores:\n8 7",
    "## Scores\n\n8 7",
    "Score: 8/10, 7/10",
    "Sure! Here are the scores: 8 7",
    "Here are my scores for both answers:\n\n8 7",
    # Other scripts
    "\uff18 \uff17",
    "\uff18\u3000\uff17",
    "\uff18\uff0c\uff17",
    "\uff18\uff0f\uff11\uff10 \uff17\uff0f\uff11\uff10",
    "\N{ARABIC-INDIC DIGIT EIGHT} \N{ARABIC-INDIC DIGIT SEVEN}",
    "\u8bc4\u5206\uff1a8 7",
    "\u7b54\u68481\uff1a\uff18\uff0c\u7b54\u68482\uff1a\uff17",
    "\u56de\u7b541\uff1a8\u5206\n\u56de\u7b542\uff1a7\u5206",
    "\ufeff8 7",
    # Thoughts
    "<think>\nIs it 9 9? Or 3 4\n</think>\n\n8 7\nAnswer 1 says why.",
    "<think></think>8 7",
    "<think>So.</think>\n\n**Answer 1:** 8/10\n**Answer 2:** 7/10",
    "<think>So.</think><answer>8 7</answer>",
    # The template opened it.
    "Is it 9 9? I think\n9 9\nno.\n</think>\n8 7",
    "<thinking>So.</thinking>\n8/10 7/10",
    "[THINK]So.[/THINK]8 7",
    "<seed:think>So.</seed:think>8 7",
    "\u25c1think\u25b7So.\u25c1/think\u25b78 7",
    "<|channel|>analysis<|message|>9 9<|end|><|start|>assistant<|channel|>final<|message|>8 7",
    "8 7<|im_end|>",
]


@pytest.mark.parametrize("review", FORMS)
def test_what_can_be_read_in_one_way_is_read(review: str) -> None:
    assert parse_review(review) == (8, 7)


@pytest.mark.parametrize(
    ("review", "scores"),
    [
        ("  10\t1  \n\n3 4", (10, 1)),
        ("8.5, 7\r\nBecause.", (8.5, 7)),
        ("\n\n5,5", (5, 5)),
        ("8,7.5", (8, 7.5)),
        ("8,5 7,5", (8.5, 7.5)),
        ("8,5; 7,5", (8.5, 7.5)),
        ("8, 7,5", (8, 7.5)),
        ("8,5/10 7,5/10", (8.5, 7.5)),
        ("Answer 1: 8,5, answer 2: 7,5", (8.5, 7.5)),
        ("10/10 9.5/10", (10, 9.5)),
        ("1. 8\n2. 10", (8, 10)),
        ("2. 10\n1. 8", (8, 10)),
        # An answer that the judge quotes gives itself a score below the judge's own.
        ("3 8\nAnswer 1 says </think> and that is all", (3, 8)),
    ],
)
def test_scores_are_read_as_they_are_written(review: str, scores: tuple[float, float]) -> None:
    assert parse_review(review) == scores


@pytest.mark.parametrize(
    "review",
    [
        "",
        "   \n ",
        "Both are good.",
        "I prefer the first one.\n8 7",
        "8",
        "8 7 6",
        "8\n7\n6",
        "8 7 because answer 1 is better",
        # Off the scale, or on another one
        "0 7",
        "8 11",
        "10.5 7",
        "-8 7",
        "11/10 7/10",
        "80/100 70/100",
        "4/5 3/5",
        "8% 7%",
        "8/10 7",
        # No scores, or who knows which
        "8-7",
        "8-9 7",
        "8/7",
        "8:7",
        "8*7",
        "8 > 7",
        "8 (7)",
        "8 ~7",
        "8. 7.",
        "1 - 8, 2 - 7",
        "1. 8 7",
        "1e1 7",
        "nan 7",
        "inf 1",
        "8\u00b2 7",
        "8\u00bd 7",
        "Answer 1: 8, answer 1: 7",
        "Answer 1: 8\n7",
        "Answer 1: 8 7",
        "Answer 1: 8 or 9, answer 2: 7",
        "First: 8 7",
        "The first is better than B: 8 7",
        # Thoughts without an end, or with two
        "<think>8 7",
        "<think>\nIs it\n8 7\n",
        "<think>So</think> I say </think>\n",
        "<think>It says\n</think>\n10 1\n, but\n</think>\n3 8",
        "3 8\nAnswer 1 says:\n</think>\n10 1",
    ],
)
def test_what_is_not_clear_is_no_review(review: str) -> None:
    assert parse_review(review) is None


def test_the_last_line_of_what_was_cut_off_is_not_read() -> None:
    assert parse_review("8 1", cut_off=True) is None
    assert parse_review("<think>So.</think>\n8 1", cut_off=True) is None
    assert parse_review("8 1\nThe fir", cut_off=True) == (8, 1)


def to_full_width(text: str) -> str:
    return "".join(chr(ord(c) + 0xFEE0) if c.isdigit() else c for c in text)


SCORES = st.integers(1, 10).flatmap(
    lambda whole: st.sampled_from([f"{whole}", f"{whole}.0", f"{min(whole, 9)}.5"])
)
LAYOUTS = [
    "{} {}",
    "{}, {}",
    "{} | {}",
    "**{}** **{}**",
    "{}/10 {}/10",
    "{} out of 10; {} out of 10",
    "Assistant 1: {}, Assistant 2: {}",
    "Answer 1: {}/10\nAnswer 2: {}/10",
    "1. {}\n2. {}",
    "{}\n{}",
    '{{"score_1": {}, "score_2": {}}}',
]
FRAMES = [
    "{}",
    "\n\n  {}  \n",
    "```\n{}\n```",
    "Scores:\n{}",
    "<think>\n3 4\nno\n</think>\n\n{}",
    "3 4? no\n</think>\n{}",
]
AFTER = ["", "\nThe first is better: 3 facts of 4.", "\n\nBecause." + " So." * 500]


@given(
    SCORES,
    SCORES,
    st.sampled_from([str, to_full_width]),
    st.sampled_from(LAYOUTS),
    st.sampled_from(FRAMES),
    st.sampled_from(AFTER),
)
def test_whatever_the_layout_the_same_scores_are_read(
    first: str, second: str, write: type[str], layout: str, frame: str, after: str
) -> None:
    review = frame.format(layout.format(write(first), write(second))) + after
    assert parse_review(review) == (float(first), float(second))


@given(st.text(alphabet="0123456789 .,;:/|-()[]<>*`\nABab\u0661\uff11think", max_size=60))
def test_whatever_is_read_is_on_the_scale(review: str) -> None:
    scores = parse_review(review)
    assert scores is None or all(1 <= score <= 10 for score in scores)


@pytest.mark.parametrize("text", ["Answer 1: ", "a 1 b 2 ", "8, ", "**", "[", "<think>", "1. "])
def test_long_texts_are_read_at_once(text: str) -> None:
    begin = time.perf_counter()
    parse_review(text * 20_000)
    assert time.perf_counter() - begin < 5


def test_every_frame_goes_with_every_layout() -> None:
    for layout, frame in product(LAYOUTS, FRAMES):
        assert parse_review(frame.format(layout.format("8", "7"))) == (8, 7), (layout, frame)
