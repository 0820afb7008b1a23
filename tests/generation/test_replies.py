"""What is read of a server's reply, and what shows that it read another text."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from almost_kedro.contract import Completion, Sampling
from almost_kedro.generation.replies import RefusalError, name_end, read_completion

SAMPLING = Sampling(temperature=1.0, top_p=0.9, max_new_tokens=10, stop=("\n",))
BODY = {"prompt": [5, 6, 7], "max_tokens": 10}


def reply(said: Any = "stop", text: Any = "Yes.", usage: Any = None, **more: Any) -> dict[str, Any]:
    return {"choices": [{"text": text, "finish_reason": said, **more}], "usage": usage}


def used(n: Any, read: Any = 3) -> dict[str, Any]:
    return {"completion_tokens": n, "prompt_tokens": read}


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("length", "length"),
        ("max_tokens", "length"),
        ("MAX_TOKENS", "length"),
        ("model_length", "length"),
        ("limit", "length"),
        ("maxPredictedTokensReached", "length"),
        ("contextLengthReached", "length"),
        ("eos_token", "eos"),
        ("eos", "eos"),
        ("eosFound", "eos"),
        ("end_turn", "eos"),
        ("stop_sequence", "stop"),
        ("stopStringFound", "stop"),
        ("content_filter", "withheld"),
        ("content-filter", "withheld"),
        ("SAFETY", "withheld"),
        ("refusal", "withheld"),
        ("abort", "broken"),
        ("error", "broken"),
        ("insufficient_system_resource", "broken"),
        ("userStopped", "broken"),
        ("modelUnloaded", "broken"),
        ("load", "broken"),
        # Either end
        ("stop", None),
        ("STOP", None),
        ("COMPLETE", None),
        ("tool_calls", None),
        ("function_call", None),
        ("", None),
        (None, None),
        ({"type": "length"}, None),
    ],
)
def test_what_servers_call_an_end(said: Any, name: str | None) -> None:
    assert name_end(said) == name


@pytest.mark.parametrize("said", [None, "", "done", "tool_calls"])
def test_where_the_reason_tells_nothing_the_number_of_tokens_does(said: str | None) -> None:
    def read(n: int, sampling: Sampling = SAMPLING) -> str:
        return read_completion(reply(said, usage=used(n)), BODY, sampling).finish_reason

    assert (read(9), read(10), read(11)) == ("stop", "length", "length")
    assert read(9, Sampling(1.0, 0.9, 10)) == "eos"


def test_a_text_that_ends_by_itself_at_the_limit_is_not_cut_off() -> None:
    found = read_completion(reply("eos_token", usage=used(10)), BODY, SAMPLING)
    assert found == Completion("Yes.", "eos", 10)
    assert read_completion(reply(usage=used(10)), BODY, SAMPLING).finish_reason == "stop"


def test_a_stop_string_that_was_left_in_ended_the_text_whatever_the_server_says() -> None:
    for said in ("stop", "length", "eos_token", None):
        found = read_completion(reply(said, "Yes.\nNo", used(4)), BODY, SAMPLING)
        assert found == Completion("Yes.", "stop", 4)


@pytest.mark.parametrize("field", ["stop_reason", "matched_stop"])
def test_a_server_that_says_what_stopped_it_is_believed(field: str) -> None:
    for value, reason in (("\n", "stop"), (None, "eos"), (2, "eos")):
        found = read_completion(reply(usage=used(4), **{field: value}), BODY, SAMPLING)
        assert found.finish_reason == reason


@pytest.mark.parametrize("usage", [None, {}, [], "none", used(None), used("4"), used(True)])
def test_tokens_that_nobody_counts_are_none(usage: Any) -> None:
    assert read_completion(reply(usage=usage), BODY, SAMPLING).n_tokens == 0
    assert read_completion(reply(usage=usage), BODY, SAMPLING, len).n_tokens == 4
    with pytest.raises(RefusalError, match="says neither how a text ended"):
        read_completion(reply(None, usage=usage), BODY, SAMPLING)
    assert read_completion(reply(None, usage=usage), BODY, SAMPLING, len).finish_reason == "stop"
    # Counted here, a text may have some tokens less than it was written by.
    long = reply(None, "a" * 9, usage)
    assert read_completion(long, BODY, SAMPLING, len).finish_reason == "length"


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"choices": []},
        {"choices": None},
        {"choices": ["Yes."]},
        {"choices": [{"finish_reason": "stop"}]},
        reply(text=7),
        reply("abort"),
        # A chat's: what was sent was laid into a template.
        {"choices": [{"message": {"content": "Yes."}, "finish_reason": "stop"}]},
    ],
)
def test_what_is_no_completion_is_none(wrong: Any) -> None:
    with pytest.raises((AttributeError, KeyError, IndexError, TypeError, ValueError)):
        read_completion(wrong, BODY, SAMPLING)


@pytest.mark.parametrize(
    ("read", "right"), [(3, True), (4, True), (0, True), (None, True), (2, False), (5, False)]
)
def test_token_ids_are_read_as_they_are_but_for_a_bos_token(read: int | None, right: bool) -> None:
    if right:
        assert read_completion(reply(usage=used(4, read)), BODY, SAMPLING).text == "Yes."
        return
    with pytest.raises(RefusalError, match=rf"read {read} tokens of a request of 3 tokens") as told:
        read_completion(reply(usage=used(4, read)), BODY, SAMPLING)
    help_ = "let it read at least 13 tokens" if read == 2 else "let it add nothing to a text"
    assert help_ in str(told.value)


@given(st.integers(1, 3000), st.integers(1, 3000))
def test_a_text_has_a_token_a_word_at_least(words: int, read: int) -> None:
    for body in ({"prompt": "So " * words}, {"messages": [{"content": "So " * words}]}):
        sent = {**body, "max_tokens": 10}
        answer = reply(usage=used(4, read), message={"content": "Yes."})
        if read >= words:
            assert read_completion(answer, sent, SAMPLING).text == "Yes."
        else:
            with pytest.raises(RefusalError, match=rf"read {read} tokens of a request of {words}"):
                read_completion(answer, sent, SAMPLING)
