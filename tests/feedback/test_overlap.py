"""Rule 6's score and index, against a plain quadratic reference."""

import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from almost_kedro.feedback import overlap
from almost_kedro.feedback.overlap import OverlapIndex, rouge_l, tokenize_words

ROOT = Path(__file__).parents[2]
TOKENS = st.lists(st.sampled_from(["a", "b", "c", "ab", "é"]), max_size=9)
THRESHOLDS = st.sampled_from([1e-6, 0.01, 0.2, 1 / 3, 0.4, 0.5, 0.6, 2 / 3, 0.7, 0.8, 0.9, 1.0])


def measure_lcs(a: Sequence[str], b: Sequence[str]) -> int:
    """Longest common subsequence by the textbook table."""
    above = [0] * (len(b) + 1)
    for x in a:
        row = [0]
        for j, y in enumerate(b):
            row.append(above[j] + 1 if x == y else max(above[j + 1], row[j]))
        above = row
    return above[-1]


def find_plainly(
    texts: Sequence[list[str]], tokens: list[str], threshold: float
) -> tuple[str, float] | None:
    """Compare with every text; the earliest of the best at or above the threshold."""
    best = None
    for number, text in enumerate(texts):
        if not text or not tokens:
            continue
        score = 2 * measure_lcs(text, tokens) / (len(text) + len(tokens))
        if score >= threshold and (best is None or score > best[1]):
            best = (str(number), score)
    return best


def make_index(texts: Sequence[list[str]], threshold: float) -> OverlapIndex:
    index = OverlapIndex(threshold)
    for number, text in enumerate(texts):
        index.add(str(number), text)
    return index


@given(
    texts=st.lists(TOKENS, max_size=12),
    tokens=TOKENS,
    threshold=THRESHOLDS,
)
@settings(deadline=None, max_examples=600)
def test_index_finds_what_comparing_with_everything_finds(
    texts: list[list[str]], tokens: list[str], threshold: float
) -> None:
    assert make_index(texts, threshold).find(tokens) == find_plainly(texts, tokens, threshold)


@given(
    texts=st.lists(TOKENS, max_size=20),
    threshold=THRESHOLDS,
    capacity=st.sampled_from([1, 2, 5]),
    rare=st.sampled_from([1, 2, 64]),
)
@example(texts=[[], ["a"], [], ["a", "a"]], threshold=0.5, capacity=1, rare=64)
@settings(deadline=None, max_examples=600)
def test_frequent_tokens_kept_as_rows_change_nothing(
    texts: list[list[str]], threshold: float, capacity: int, rare: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(overlap, "FIRST_CAPACITY", capacity)
        patch.setattr(overlap, "RARE", rare)
        index = OverlapIndex(threshold)
        for number, tokens in enumerate(texts):
            assert index.find(tokens) == find_plainly(texts[:number], tokens, threshold)
            index.add(str(number), tokens)


@given(half=st.lists(st.sampled_from("abc"), min_size=1, max_size=9), data=st.data())
@settings(deadline=None, max_examples=200)
def test_score_of_exactly_one_half_is_found(half: list[str], data: st.DataObject) -> None:
    text = data.draw(st.permutations([*half, *("x" * len(half))]))
    tokens = [token if token != "x" else "y" for token in text]
    assert make_index([text], 0.5).find(tokens) == ("0", 0.5)
    assert make_index([text], 0.5).find([*tokens, "y"]) is None


@pytest.mark.parametrize("threshold", [0.1, 0.5, 1.0])
@pytest.mark.parametrize(
    "length", [255, 256, *(pytest.param(n, marks=pytest.mark.slow) for n in (254, 257, 520))]
)
def test_texts_too_long_to_count_in_a_byte_are_found(length: int, threshold: float) -> None:
    draw = random.Random(length)
    long = draw.choices("abcdefgh", k=length)
    texts = [long[-100:], draw.choices("abcdefgh", k=300), long, draw.choices("aé", k=40), long]
    index = make_index(texts, threshold)
    for tokens in [*texts, long[:-1], long[1:], long[:120], ["x"] * length, ["a"] * length]:
        assert index.find(tokens) == find_plainly(texts, tokens, threshold)


def test_tail_of_a_long_text_is_found() -> None:
    # The common tokens come after the first 255.
    tail = [f"t{i}" for i in range(100)]
    tokens = [*(f"x{i}" for i in range(900)), *tail]
    assert make_index([tail], 0.1).find(tokens) == ("0", 2 * 100 / 1100)
    assert make_index([tokens], 0.1).find(tail) == ("0", 2 * 100 / 1100)


@given(a=TOKENS, b=TOKENS)
@settings(deadline=None, max_examples=200)
def test_rouge_l_agrees_with_the_textbook_table(a: list[str], b: list[str]) -> None:
    assert rouge_l(a, b) == (2 * measure_lcs(a, b) / (len(a) + len(b)) if a and b else 0.0)
    assert rouge_l(a, b) == rouge_l(b, a)


@pytest.mark.parametrize(
    ("a", "b", "score"),
    [
        ("a b c d", "a c d e", 0.75),
        ("a b", "b a", 0.5),
        ("a a a", "a", 0.5),
        ("a b", "c d", 0.0),
        ("a", "a", 1.0),
        ("", "a", 0.0),
        ("", "", 0.0),
    ],
)
def test_rouge_l_is_twice_the_common_subsequence_by_both_lengths(
    a: str, b: str, score: float
) -> None:
    assert rouge_l(a.split(), b.split()) == score


@pytest.mark.parametrize(
    ("length", "common", "threshold"), [(10, 7, 0.7), (10, 6, 0.6), (10, 9, 0.9), (30, 29, 29 / 30)]
)
def test_score_exactly_at_the_threshold_is_found(
    length: int, common: int, threshold: float
) -> None:
    text = [f"t{i}" for i in range(length)]
    tokens = text[:common] + ["x"] * (length - common)
    assert make_index([text], threshold).find(tokens) == ("0", threshold)


@pytest.mark.parametrize(("length", "other", "common"), [(12, 13, 7), (25, 25, 14)])
def test_rounding_does_not_lose_a_score_at_the_threshold(
    length: int, other: int, common: int
) -> None:
    # Both score 0.56, but in floating point 0.56 x 25 / 2 is a little more than 7.
    text = [f"t{i}" for i in range(length)]
    tokens = text[:common] + ["x"] * (other - common)
    assert make_index([text], 0.56).find(tokens) == ("0", 0.56)


def test_score_just_below_the_threshold_is_not_found() -> None:
    assert make_index([["a", "b", "c", "d", "e"]], 0.5).find(["a", "b", "x", "y"]) is None


def test_earliest_of_equals_is_returned() -> None:
    texts = [["x"], ["b", "a"], ["a", "c"], ["a", "b"], ["a", "b"]]
    assert make_index(texts, 0.5).find(["a", "b"]) == ("3", 1.0)
    assert make_index(texts[:3], 0.5).find(["a", "b"]) == ("1", 0.5)


def test_common_tokens_in_another_order_do_not_count() -> None:
    assert make_index([["d", "c", "b", "a"]], 0.5).find(["a", "b", "c", "d"]) is None


def test_empty_texts_overlap_with_nothing() -> None:
    assert make_index([[], ["a"]], 0.5).find([]) is None
    assert make_index([[]], 0.5).find(["a"]) is None
    assert OverlapIndex(0.5).find(["a"]) is None


def test_index_grows_beyond_its_first_size() -> None:
    index = make_index([[f"a{i}", f"b{i}"] for i in range(2100)], 0.5)
    assert len(index) == 2100
    assert index.find(["a2099", "b2099"]) == ("2099", 1.0)
    assert index.find(["a0", "x"]) == ("0", 0.5)


def test_all_of_many_thousands_of_words_are_told_apart() -> None:
    # Their characters go past the surrogates, U+D800 to U+DFFF, and U+FFFF.
    texts = [[f"w{i}", f"w{i + 1}"] for i in range(0, 70_000, 2)]
    index = make_index(texts, 1.0)
    for number in range(0, len(texts), 100):
        assert index.find(texts[number]) == (str(number), 1.0)
        assert index.find(texts[number][::-1]) is None


def test_words_are_lower_cased_and_punctuation_marks_stand_alone() -> None:
    assert tokenize_words("Don't STOP, ok?!") == ["don", "'", "t", "stop", ",", "ok", "?", "!"]


def test_blank_text_has_no_words() -> None:
    assert tokenize_words(" \n\t") == []


@pytest.mark.slow
def test_benchmark_reports_the_same_verdicts_as_the_loop() -> None:
    script = [sys.executable, "benchmarks/overlap.py", "--prompts", "assets/seed_prompts.txt"]
    done = subprocess.run(
        [*script, "--sizes", "200", "400", "--loop-seconds", "60"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for size in (200, 400):
        assert f"{size} prompts: " in done.stdout
        assert f"same verdicts as the loop on the first {size};" in done.stdout
        assert f"comparing with everything on a random {size}\n" in done.stdout
    assert "from 200 to 400: index time grows as n^" in done.stdout
