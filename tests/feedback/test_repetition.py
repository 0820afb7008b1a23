"""How much a text repeats itself."""

from fractions import Fraction

import pytest

from almost_kedro.feedback.repetition import measure_repetition


@pytest.mark.parametrize(
    ("text", "repeated"),
    [
        ("", 0),
        ("It is so", 0),
        ("It is small and red", 0),
        # Runs: abcd bcda cdab dabc abcd: one of five stood before.
        ("a b c d a b c d", Fraction(1, 5)),
        # Marks are words, and case is none: a b , c and b , c . stand there twice.
        ("A b, c. a B, c.", Fraction(2, 7)),
        # All runs are one.
        ("no " * 10, Fraction(6, 7)),
        # Without spaces, each character is a word.
        ("\u5929\u6c14\u5f88\u597d" * 2, Fraction(1, 5)),
    ],
)
def test_repetition_is_the_share_of_runs_of_four_words_that_stood_before(
    text: str, repeated: Fraction
) -> None:
    assert measure_repetition(text) == pytest.approx(float(repeated))
