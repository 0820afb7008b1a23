from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from almost_kedro.contract import Sampling
from almost_kedro.generation.endings import Endings
from almost_kedro.models.tokens import Encoder

STOP = ("\n\nHuman:", "é", "—x")


@pytest.fixture(scope="module")
def encoder(tiny_models: dict[str, Path]) -> Encoder:
    return Encoder(tiny_models["tiny-small"])


def end(encoder: Encoder, ids: list[int], stop: tuple[str, ...]) -> tuple[str, int]:
    """Feed tokens one by one until the row ends; returns its text and its tokens."""
    sampling = Sampling(1.0, 1.0, max_new_tokens=len(ids), stop=stop)
    endings = Endings(encoder.tokenizer, encoder.end_ids, sampling)
    for n in range(1, len(ids) + 1):
        completion = endings.complete(ids[:n])
        if completion:
            return completion.text, n
    raise AssertionError("it never ended")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["Human", "\n", ":", "é", "—", "x", " a", "日"]), max_size=12))
def test_a_row_ends_with_the_token_that_completes_a_stop_string(
    encoder: Encoder, pieces: list[str]
) -> None:
    text = "".join(pieces) + "\n\nHuman: é"
    ids = encoder.encode([text])[0]
    cut, n = end(encoder, ids, STOP)
    first = min(text.find(stop) for stop in STOP if stop in text)
    assert cut == text[:first]
    assert not any(stop in encoder.tokenizer.decode(ids[: n - 1]) for stop in STOP)
    assert any(stop in encoder.tokenizer.decode(ids[:n]) for stop in STOP)


def test_only_tokens_that_can_complete_a_stop_string_are_looked_at(encoder: Encoder) -> None:
    endings = Endings(encoder.tokenizer, encoder.end_ids, Sampling(1.0, 1.0, 99, ("\n",)))
    plain, newline = encoder.encode(["a"])[0], encoder.encode(["\n"])[0]
    assert not endings._can_complete(plain[-1])
    assert endings._can_complete(newline[-1])
