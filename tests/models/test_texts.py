"""Dialogues and answers as token ids; the tiny tokenizer has a token for each byte."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from training_jobs import as_folder

from almost_kedro.errors import UserError
from almost_kedro.models.texts import TextEncoder, check_context

DIALOGUE, EOS, BOS = "\n\nHuman: a?\n\nAssistant:", 2, 1


@pytest.fixture(scope="module")
def tiny(tiny_models: dict[str, Path]) -> Path:
    return tiny_models["tiny-large"]


@pytest.fixture(scope="module")
def encoder(tiny: Path) -> TextEncoder:
    return TextEncoder(as_folder(tiny), " ", 100)


def make_encoder(model: Path, max_length: int, bos: bool | None = None) -> TextEncoder:
    return TextEncoder(as_folder(model).model_copy(update={"bos": bos}), " ", max_length)


def test_an_answer_follows_its_dialogue_after_a_space_and_ends_in_eos(
    encoder: TextEncoder,
) -> None:
    text = encoder.encode(DIALOGUE, "Yes.")
    assert text.dialogue == encoder.encode_dialogue(DIALOGUE)
    assert len(text.dialogue) == len(DIALOGUE)
    assert len(text.answer) == len(" Yes.") + 1
    assert text.answer[-1] == EOS
    assert encoder.tokenizer.decode(text.ids) == f"{DIALOGUE} Yes.<eos>"


def test_only_the_answer_and_its_eos_are_targets(encoder: TextEncoder) -> None:
    text = encoder.encode(DIALOGUE, "Yes.")
    assert text.labels == [-100] * len(DIALOGUE) + text.answer
    assert len(text.labels) == len(text.ids)


def test_what_looks_like_a_special_token_is_plain_text(encoder: TextEncoder) -> None:
    text = encoder.encode(DIALOGUE, "a<eos>b<pad>")
    assert text.ids.count(EOS) == 1
    assert encoder.pad not in text.ids


def test_a_long_dialogue_loses_its_beginning_and_keeps_answer_and_eos(tiny: Path) -> None:
    whole = make_encoder(tiny, 1000).encode(DIALOGUE, "Yes.")
    cut = make_encoder(tiny, 10).encode(DIALOGUE, "Yes.")
    assert cut.ids == whole.ids[-10:]
    assert cut.answer == whole.answer


def test_an_answer_too_long_by_itself_loses_its_beginning_never_its_eos(tiny: Path) -> None:
    whole = make_encoder(tiny, 1000).encode(DIALOGUE, "abcdef")
    cut = make_encoder(tiny, 4).encode(DIALOGUE, "abcdef")
    assert cut.dialogue == []
    assert cut.answer == whole.answer[-4:]


def test_the_bos_stays_where_the_beginning_is_cut(tiny: Path) -> None:
    cut = make_encoder(tiny, 10, bos=True).encode(DIALOGUE, "Yes.")
    whole = make_encoder(tiny, 1000).encode(DIALOGUE, "Yes.")
    assert cut.ids == [BOS, *whole.ids[-9:]]
    prompt = make_encoder(tiny, 10, bos=True).encode_dialogue(DIALOGUE)
    assert prompt == [BOS, *whole.dialogue[-9:]]


def test_a_dialogue_to_be_answered_may_have_the_whole_length(tiny: Path) -> None:
    assert len(make_encoder(tiny, len(DIALOGUE)).encode_dialogue(DIALOGUE)) == len(DIALOGUE)
    assert len(make_encoder(tiny, 5).encode_dialogue(DIALOGUE)) == 5


def test_ids_that_have_their_eos_get_no_second_one(encoder: TextEncoder) -> None:
    assert encoder.join([5, 6], [7, EOS]) == encoder.join([5, 6], [7])
    assert encoder.join([5], []).ids == [5, EOS]


@given(
    st.lists(st.integers(3, 258), max_size=30),
    st.lists(st.integers(3, 258), max_size=30),
    st.integers(2, 40),
    st.booleans(),
)
def test_joined_ids_are_the_end_of_the_whole_and_never_too_long(
    tiny: Path, dialogue: list[int], answer: list[int], max_length: int, bos: bool
) -> None:
    encoder = make_encoder(tiny, max_length, bos)
    start = encoder.encoder.bos + dialogue
    text = encoder.join(start, answer)
    whole = [*start, *answer, EOS]
    assert len(text.ids) == min(len(whole), max_length)
    assert text.ids[-1] == EOS
    kept = text.ids[len(encoder.encoder.bos) :] if text.ids[0] == BOS else text.ids
    assert whole[len(whole) - len(kept) :] == kept


@pytest.mark.real
def test_an_answer_that_would_change_the_dialogues_last_token_is_tokenised_apart(
    smollm2: Path,
) -> None:
    joined = TextEncoder(as_folder(smollm2), "", 100)
    assert joined.encode("Assistan", "t").dialogue == joined.encode_dialogue("Assistan")
    assert joined.encode("Assistan", "t").ids != [*joined.encode_dialogue("Assistant"), EOS]
    usual = TextEncoder(as_folder(smollm2), " ", 100)
    [together] = usual.encoder.encode([f"{DIALOGUE} Yes."])
    assert usual.encode(DIALOGUE, "Yes.").ids == [*together, EOS]


@pytest.mark.real
def test_padding_is_told_from_eos_where_the_tokenizer_takes_one_for_both(smollm2: Path) -> None:
    encoder = TextEncoder(as_folder(smollm2), " ", 100)
    assert encoder.eos == EOS
    assert encoder.pad != EOS
    assert encoder.tokenizer.pad_token_id == encoder.pad


def test_texts_longer_than_the_model_are_refused(tiny: Path) -> None:
    check_context(as_folder(tiny), 16384, "sft.max_length")
    with pytest.raises(UserError, match=r"^option sft.max_length: 16385 tokens, .* reads 16384"):
        check_context(as_folder(tiny), 16385, "sft.max_length")
