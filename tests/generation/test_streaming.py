"""Text while it is written: nothing is taken back, and the answer is that of `generate`."""

from functools import cache
from pathlib import Path

import pytest
from families import FAMILIES, SHARING, make_tiny, save
from hand_made_models import make_folder
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizer_families import TOKENIZERS
from transformers import PreTrainedTokenizerFast

from almost_kedro.contract import Request, Sampling
from almost_kedro.errors import UserError
from almost_kedro.feedback.responses import STOPS
from almost_kedro.generation.embedded import EmbeddedEngine
from almost_kedro.generation.streaming import TextStream, withhold

QUESTION = "\n\nHuman: Why?\n\nAssistant:"
PREFIX = "A dialogue.\n\nHuman: Who?\n\nAssistant: I."
DRAWN = Sampling(temperature=1.0, top_p=0.95, max_new_tokens=60, seed=3)
UNSHARED = next(family for family in FAMILIES if family not in SHARING)
load = cache(lambda family: TOKENIZERS[family]())


def stream_ids(
    tokenizer: PreTrainedTokenizerFast, ids: list[int], stop: tuple[str, ...] = ()
) -> list[str]:
    """What is shown after each token."""
    pieces: list[str] = []
    stream = TextStream(tokenizer, [tokenizer.eos_token_id], stop, pieces.append)
    for n in range(1, len(ids) + 1):
        stream.grow(ids[:n])
    return ["".join(pieces[:n]) for n in range(1, len(ids) + 1)]


@pytest.mark.parametrize("family", TOKENIZERS)
@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_no_later_token_changes_what_was_shown(family: str, data: st.DataObject) -> None:
    tokenizer = load(family)
    # The last ones are letters and words, the others most often bytes.
    some = st.integers(0, len(tokenizer) - 1) | st.integers(len(tokenizer) - 12, len(tokenizer) - 1)
    ids = data.draw(st.lists(some, min_size=1, max_size=25))
    shown = stream_ids(tokenizer, ids)
    for n in range(1, len(ids) + 1):
        whole = tokenizer.decode(ids[:n], skip_special_tokens=True)
        assert all(whole.startswith(earlier) for earlier in shown[:n])


@pytest.mark.parametrize(
    ("marks", "text", "certain"),
    [
        ((), "as it is", "as it is"),
        (("Human:",), "Hello Hum", "Hello "),
        (("Human:",), "Hello Human: you", "Hello "),
        (("Human:",), "Humans", "Humans"),
        (("aab",), "aaa", "a"),
        (STOPS, "I am.\n\n---", "I am."),
        (STOPS, "I am.\n\nAssistant", "I am.\n\n"),
        (STOPS, "", ""),
    ],
)
def test_what_may_become_a_mark_is_withheld(
    marks: tuple[str, ...], text: str, certain: str
) -> None:
    assert withhold(text, marks) == certain


def test_half_a_character_is_not_shown() -> None:
    tokenizer = load("bytes")
    ids = tokenizer("a€b")["input_ids"]
    assert stream_ids(tokenizer, ids) == ["a", "a", "a", "a€", "a€b"]


def test_bytes_are_shown_once_another_token_follows_them() -> None:
    tokenizer = load("bytes as fallback")
    euro = [f"<0x{byte:02X}>" for byte in "€".encode()]
    ids = tokenizer.convert_tokens_to_ids(["▁A", *euro, "s"])
    assert stream_ids(tokenizer, ids) == ["A", "A", "A", "A", "A€s"]


def test_a_stop_string_is_never_shown() -> None:
    tokenizer = load("bytes")
    ids = tokenizer("So Hu Human:")["input_ids"]
    assert stream_ids(tokenizer, ids, STOPS)[-3:] == ["So Hu "] * 3


def test_the_token_that_ends_a_text_is_not_shown() -> None:
    tokenizer = load("bytes")
    [end] = tokenizer("!")["input_ids"]
    pieces: list[str] = []
    TextStream(tokenizer, [end], (), pieces.append).grow(tokenizer("a!")["input_ids"])
    assert pieces == ["a"]


def check_stream(engine: EmbeddedEngine, prefix: str, sampling: Sampling) -> None:
    """The answer is that of `generate`, and its text was shown, but for an uncertain end."""
    for sample in range(4):
        request, pieces = Request(QUESTION, prefix, sample), list[str]()
        streamed = engine.stream(request, sampling, pieces.append)
        [(_, whole)] = engine.generate([request], sampling)
        assert streamed == whole
        assert len(pieces) == whole.n_tokens
        assert whole.text.startswith("".join(pieces))
        if whole.finish_reason != "stop":
            certain = withhold(whole.text.rstrip("�"), sampling.stop)
            assert len("".join(pieces)) >= len(certain) - 8


@pytest.mark.parametrize("prefix", ["", PREFIX])
@pytest.mark.parametrize("sampling", [DRAWN, Sampling(1.0, 1.0, 80, ("e", "a", "Human:"), seed=1)])
def test_a_streamed_answer_is_the_answer(
    prefix: str, sampling: Sampling, tiny_models: dict[str, Path]
) -> None:
    engine = EmbeddedEngine(tiny_models["tiny-large"], dtype="float32")
    check_stream(engine, prefix, sampling)


@pytest.mark.parametrize("family", TOKENIZERS)
def test_a_streamed_answer_is_the_answer_with_every_tokenizer(family: str, tmp_path: Path) -> None:
    engine = EmbeddedEngine(make_folder(tmp_path, load(family)), dtype="float32")
    check_stream(engine, PREFIX, DRAWN)


def test_a_model_that_shares_no_prefix_streams_the_same(
    tiny_models: dict[str, Path], tmp_path: Path
) -> None:
    save(make_tiny(UNSHARED), tmp_path, tiny_models)
    engine = EmbeddedEngine(tmp_path, dtype="float32")
    assert not engine.shares_prefix
    check_stream(engine, PREFIX, DRAWN)


def test_an_error_of_the_reader_ends_the_writing(tiny_models: dict[str, Path]) -> None:
    engine = EmbeddedEngine(tiny_models["tiny-large"], dtype="float32")
    pieces: list[str] = []

    def read(piece: str) -> None:
        pieces.append(piece)
        if len(pieces) == 3:
            raise UserError("enough")

    with pytest.raises(UserError, match="enough"):
        engine.stream(Request(QUESTION), Sampling(0.0, 1.0, 50), read)
    assert len(pieces) == 3
    check_stream(engine, PREFIX, DRAWN)


@pytest.mark.slow
@pytest.mark.real
def test_the_default_model_streams_words(smollm2: Path) -> None:
    engine = EmbeddedEngine(smollm2, dtype="float32")
    check_stream(engine, PREFIX, Sampling(0.7, 0.9, 24, STOPS))
