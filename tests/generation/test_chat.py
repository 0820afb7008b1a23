"""The openai engine asking by chat, against a real HTTP server that behaves and misbehaves."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from chat_server import ChatServer, prefer_longer, serve

from almost_kedro.contract import Completion, ModelFolder, Request, Sampling
from almost_kedro.errors import UserError
from almost_kedro.evaluation.judge import build_judge_prompt
from almost_kedro.generation.openai import OpenAIEngine
from almost_kedro.options.generation import GenerationOptions

GREEDY = Sampling(temperature=0.0, top_p=1.0, max_new_tokens=30)
# Which answer is the longer one differs.
REQUESTS = [Request(build_judge_prompt("Why?", "a" * i, "b" * 8)) for i in range(1, 17) if i != 8]
EXPECTED = [prefer_longer("Why?", "a" * i, "b" * 8) for i in range(1, 17) if i != 8]


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with serve(prefer_longer) as server:
        yield server


def connect(
    *servers: ChatServer, folder: Path | None = None, key: str | None = None
) -> OpenAIEngine:
    entries = [
        {"url": server.url, "model": "critic", "key": "mine" if key else None, "concurrency": 4}
        for server in servers
    ]
    options = GenerationOptions.model_validate({"engine": "openai", "servers": entries})
    model = ModelFolder(name="critic", folder=folder, fingerprint="f", chat=True)
    return OpenAIEngine(model, options, {"mine": key} if key else {}, backoff=0.01)


def ask(engine: OpenAIEngine, sampling: Sampling = GREEDY) -> list[Completion]:
    found = dict(engine.generate(REQUESTS, sampling, lambda n: None))
    return [found[i] for i in range(len(REQUESTS))]


def test_a_text_is_one_message_of_a_user_and_nothing_is_said_of_draws(server: ChatServer) -> None:
    found = ask(connect(server))
    assert [completion.text for completion in found] == EXPECTED
    assert {completion.finish_reason for completion in found} == {"eos"}
    [body] = [body for body in server.bodies if body["messages"][0]["content"] == REQUESTS[0].text]
    assert body == {
        "model": "critic",
        "messages": [{"role": "user", "content": REQUESTS[0].text}],
        "max_tokens": 30,
        "temperature": 0.0,
    }


def test_a_chat_that_draws_has_a_seed_of_its_own(server: ChatServer) -> None:
    ask(connect(server), Sampling(temperature=0.7, top_p=0.9, max_new_tokens=30))
    assert {body["top_p"] for body in server.bodies} == {0.9}
    assert len({body["seed"] for body in server.bodies}) == len(REQUESTS)


def test_a_chat_gets_text_even_if_its_tokenizer_is_here(
    server: ChatServer, tiny_models: dict[str, Path]
) -> None:
    found = ask(connect(server, folder=tiny_models["tiny-large"]))
    assert [completion.text for completion in found] == EXPECTED


@pytest.mark.parametrize("fault", [500, 429, "close", "half", "not JSON"])
def test_a_server_that_misbehaves_for_a_while_loses_nothing(
    fault: str | int, server: ChatServer
) -> None:
    server.fault = lambda number: fault if number in (2, 3) else None
    assert [completion.text for completion in ask(connect(server))] == EXPECTED
    assert server.answered == len(REQUESTS)


def test_retry_after_is_honoured(server: ChatServer) -> None:
    server.fault, server.retry_after = (lambda number: 429 if number == 0 else None), "1"
    begin = time.monotonic()
    ask(connect(server))
    assert time.monotonic() - begin >= 1


def test_what_a_filter_keeps_back_is_an_empty_reply_that_says_so(
    server: ChatServer, capfd: pytest.CaptureFixture[str]
) -> None:
    server.fault = lambda number: "filter" if number == 0 else None
    server.judge = lambda *case: None if case[1] == "a" * 3 else prefer_longer(*case)
    found = ask(connect(server))
    kept_back = [completion for completion in found if completion.finish_reason == "withheld"]
    assert kept_back == [Completion("", "withheld", 0)] * 2
    assert [c.text for c in found if c.finish_reason == "eos"] == [
        text for text, c in zip(EXPECTED, found, strict=True) if c.finish_reason == "eos"
    ]
    log = capfd.readouterr().out
    assert f"server {server.url} withholds a reply: status 400: The prompt was filtered" in log


def test_a_message_without_content_is_an_empty_text(server: ChatServer) -> None:
    server.judge = lambda *case: ""
    assert {completion.text for completion in ask(connect(server))} == {""}


def test_one_request_refused_for_any_other_reason_costs_no_other(
    server: ChatServer, capfd: pytest.CaptureFixture[str]
) -> None:
    server.fault = lambda number: 400 if number == 5 else None
    found = ask(connect(server))
    assert [each for each in found if each.finish_reason == "refused"] == [
        Completion("", "refused", 0)
    ]
    assert sum(each.text == text for each, text in zip(found, EXPECTED, strict=True)) == 14
    log = capfd.readouterr().out
    assert f"server {server.url} refuses a request (status 400: fault 400), the one that" in log


def test_a_server_that_refuses_all_is_one_clear_line(server: ChatServer) -> None:
    server.fault = lambda number: 400
    with pytest.raises(
        UserError,
        match=rf"server {server.url} refuses a request \(status 400: fault 400\); what was answered"
        r" is kept\. \d of \d were refused",
    ):
        ask(connect(server))


def test_a_server_that_reads_less_than_the_words_it_was_sent_is_set_aside(
    server: ChatServer,
) -> None:
    server.read = 64
    with pytest.raises(
        UserError,
        match=r"no server is left: .* read 64 tokens of a request of \d+ words, so it wou",
    ):
        ask(connect(server))


@pytest.mark.parametrize(
    "content",
    [
        [{"type": "text", "text": "8 5"}, {"type": "text", "text": "\nSo."}],
        [{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "8 5\nSo."}],
        "8 5\nSo.",
    ],
)
def test_a_message_may_come_in_parts(server: ChatServer, content: object) -> None:
    server.judge = lambda *case: content  # type: ignore[assignment, return-value]
    server.count = lambda text: 4
    assert {each.text for each in ask(connect(server))} == {"8 5\nSo."}


def test_a_refused_key_is_named_and_never_shown(server: ChatServer) -> None:
    server.key = "sk-right"
    assert len(ask(connect(server, key="sk-right"))) == len(REQUESTS)
    with pytest.raises(UserError, match=r"refuses the key 'mine'.*credentials\.yml") as caught:
        ask(connect(server, key="sk-wrong"))
    assert "sk-wrong" not in str(caught.value)


def test_several_servers_share_the_work(server: ChatServer) -> None:
    with serve(prefer_longer) as other:
        assert [completion.text for completion in ask(connect(server, other))] == EXPECTED
        assert server.answered + other.answered == len(REQUESTS)
        assert min(server.answered, other.answered) > 0
