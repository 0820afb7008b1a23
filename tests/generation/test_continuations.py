"""Contexts and continuations as token ids; the tiny tokenizer has a token for each byte."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from almost_kedro.contract import Likelihood
from almost_kedro.errors import UserError
from almost_kedro.generation.continuations import Tokens, cut_left, encode_rows, make_row_batches
from almost_kedro.models.tokens import Encoder

BOS = 1
CUE = "\n\nAnswer:"


@pytest.fixture(scope="module")
def plain(tiny_models: dict[str, Path]) -> Encoder:
    return Encoder(tiny_models["tiny-small"], bos=False)


@pytest.fixture(scope="module")
def with_bos(tiny_models: dict[str, Path]) -> Encoder:
    return Encoder(tiny_models["tiny-small"], bos=True)


def encode(
    encoder: Encoder, context: str, continuation: str, limit: int | None = None, id_: str = "row"
) -> Tokens:
    row = Likelihood(id=id_, context=context, continuation=continuation)
    [tokens] = encode_rows(encoder, [row], limit, "tiny")
    return tokens


def test_a_continuation_follows_its_context_and_no_eos_follows_it(plain: Encoder) -> None:
    tokens = encode(plain, "Yes?", " No.")
    assert tokens.context + tokens.continuation == plain.encode(["Yes? No."])[0]
    assert (len(tokens.context), len(tokens.continuation), tokens.cut) == (4, 4, 0)
    assert tokens.inputs == plain.encode(["Yes? No"])[0]


def test_the_context_starts_with_bos_where_the_model_needs_it(with_bos: Encoder) -> None:
    tokens = encode(with_bos, "ab", "c")
    assert tokens.context == [BOS, *encode(with_bos, "", "ab").continuation]
    assert encode(with_bos, "", "c").context == [BOS]


@pytest.mark.real
def test_a_continuation_that_would_change_the_last_token_is_tokenised_apart(smollm2: Path) -> None:
    encoder = Encoder(smollm2)
    apart = encode(encoder, "Assistan", "t")
    assert apart.context == encoder.encode(["Assistan"])[0]
    assert apart.continuation == encoder.encode(["t"])[0]
    assert apart.context + apart.continuation != encoder.encode(["Assistant"])[0]


def test_what_is_too_long_loses_the_contexts_beginning_never_its_cue(plain: Encoder) -> None:
    whole = encode(plain, "x" * 100 + CUE, " True")
    cut = encode(plain, "x" * 100 + CUE, " True", limit=20)
    # The last token of " True" is not read: 16 tokens are left for the context.
    assert len(cut.inputs) == 20
    assert cut.context == whole.context[-16:]
    assert plain.tokenizer.decode(cut.context) == "x" * 7 + CUE
    assert cut.continuation == whole.continuation
    assert cut.cut == 100 + len(CUE) - 16


def test_what_just_fits_is_not_cut(plain: Encoder) -> None:
    assert encode(plain, "abcdef", "gh", limit=7).cut == 0
    assert encode(plain, "abcdef", "gh", limit=6).cut == 1


def test_the_bos_stays_where_there_is_room_for_more(with_bos: Encoder) -> None:
    cut = encode(with_bos, "abcdef", "g", limit=3)
    assert cut.context[0] == BOS
    assert with_bos.tokenizer.decode(cut.context[1:]) == "ef"
    assert cut.cut == 4
    alone = encode(with_bos, "abcdef", "g", limit=1)
    assert with_bos.tokenizer.decode(alone.context) == "f"


@given(st.lists(st.integers(3, 258), min_size=1, max_size=30), st.booleans(), st.data())
def test_a_cut_context_is_as_long_as_it_may_be_and_ends_alike(
    context: list[int], bos: bool, data: st.DataObject
) -> None:
    start = [BOS] * bos
    excess = data.draw(st.integers(0, len(context) + bos - 1))
    cut = cut_left(start + context, start, excess)
    assert len(cut) == len(start + context) - excess
    assert cut[-1] == context[-1]
    assert not (bos and len(cut) > 1 and cut[0] != BOS)


def test_an_empty_continuation_is_one_clear_line(plain: Encoder) -> None:
    with pytest.raises(UserError, match=r"^row 'hhh-7': its continuation is empty; "):
        encode(plain, "a", "", id_="hhh-7")


def test_a_continuation_longer_than_what_the_model_reads_is_one_clear_line(plain: Encoder) -> None:
    assert len(encode(plain, "a" * 9, "b" * 8, limit=8).context) == 1
    with pytest.raises(UserError, match=r"'hhh-7': its continuation has 9 .* 'tiny' reads 8; "):
        encode(plain, "a", "b" * 9, limit=8, id_="hhh-7")


def test_nothing_before_the_first_token_is_one_clear_line(plain: Encoder) -> None:
    with pytest.raises(UserError, match="row 'hhh-7': its context is empty and model 'tiny'"):
        encode(plain, "", "b", id_="hhh-7")


def test_an_id_that_is_there_twice_is_one_clear_line(plain: Encoder) -> None:
    row = Likelihood(id="a1", context="a", continuation="b")
    with pytest.raises(UserError, match="row 'a1': its id is there twice"):
        encode_rows(plain, [row, row], None, "tiny")


def test_rows_of_a_prefix_are_in_batches_of_their_own(plain: Encoder) -> None:
    long = "a long beginning, "
    rows = [
        Likelihood(id=f"{i}", prefix=prefix, context=context, continuation="YZ")
        for i, (prefix, context) in enumerate(
            [(long, "de"), ("", "abc"), (long, "f"), ("", "x"), (long, "g"), (long, "h")]
        )
    ]
    encoded = encode_rows(plain, rows, None, "tiny")
    batches = make_row_batches(encoded, width=1, batch_tokens=100, positions=100)
    [shared] = plain.encode([long])
    assert [batch.shared for batch in batches] == [tuple(shared), ()]
    assert [sorted(batch.numbers) for batch in batches] == [[0, 2, 4, 5], [1, 3]]
