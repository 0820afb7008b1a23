"""The openai engine against a real HTTP server, which behaves and misbehaves."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import contract
import pytest
from completion_server import CompletionServer
from contract import DRAWN, GREEDY, REQUESTS, TEXTS, complete
from dialects import CLEAR, OPENAI, VAGUE, without_both, without_usage

from almost_kedro.contract import Completion, ModelFolder, Request, Sampling
from almost_kedro.errors import UserError
from almost_kedro.generation.embedded import EmbeddedEngine
from almost_kedro.generation.engine import Engine, request_seed
from almost_kedro.generation.job import RequestGroup, ResponsesTask
from almost_kedro.generation.openai import OpenAIEngine
from almost_kedro.generation.servers import check_servers
from almost_kedro.jobs.generate import Asked, read_answers, run_workers
from almost_kedro.models.tokens import Encoder
from almost_kedro.options.generation import GenerationOptions

SHORT = Sampling(temperature=1.0, top_p=0.9, max_new_tokens=4, seed=1)
MANY = [Request(TEXTS[i % 5], sample=i) for i in range(40)]


@pytest.fixture(scope="module")
def model(tiny_models: dict[str, Path]) -> EmbeddedEngine:
    return EmbeddedEngine(tiny_models["tiny-large"], dtype="float32")


@pytest.fixture
def start(model: EmbeddedEngine) -> Iterator[Callable[[], CompletionServer]]:
    started = []

    def start_one() -> CompletionServer:
        server = CompletionServer(model)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        started.append(server)
        return server

    yield start_one
    for server in started:
        server.shutdown()
        server.server_close()


def connect(
    *servers: CompletionServer,
    folder: Path | None = None,
    keys: dict[str, str] | None = None,
    **options: object,
) -> OpenAIEngine:
    entries = [{"url": server.url, "model": "tiny", **options} for server in servers]
    generation = GenerationOptions.model_validate({"engine": "openai", "servers": entries})
    model = ModelFolder(name="tiny", folder=folder, fingerprint="f")
    return OpenAIEngine(model, generation, keys or {}, backoff=0.01)


def fail_at(numbers: range, fault: str | int) -> Callable[[int], str | int | None]:
    return lambda number: fault if number in numbers else None


@pytest.mark.parametrize("check", contract.CHECKS, ids=lambda check: check.__name__)
def test_contract(
    check: Callable[[Engine, Path], None],
    start: Callable[[], CompletionServer],
    tiny_models: dict[str, Path],
) -> None:
    folder = tiny_models["tiny-large"]
    check(connect(start(), start(), folder=folder), folder)


def expect(model: EmbeddedEngine) -> list[Completion]:
    """What MANY draws, whoever is asked."""
    server = CompletionServer(model)
    try:
        return complete_with(server)
    finally:
        server.server_close()


def some_more(*values: Any) -> list[Any]:
    """Values that `make test-all` tries, too: each waits for a second try."""
    return [pytest.param(value, marks=pytest.mark.slow) for value in values]


def complete_with(server: CompletionServer) -> list[Completion]:
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    answers = complete(connect(server), MANY, SHORT)
    server.shutdown()
    return answers


@pytest.mark.parametrize(
    "fault",
    [429, "close", "not JSON", *some_more(500, 502, 503, 408, "half", "wrong JSON")],
)
def test_a_server_that_misbehaves_for_a_while_loses_nothing(
    fault: str | int, start: Callable[[], CompletionServer], model: EmbeddedEngine
) -> None:
    server = start()
    server.fault = fail_at(range(3, 9), fault)
    assert complete(connect(server), MANY, SHORT) == expect(model)
    assert server.answered == len(MANY)


@pytest.mark.parametrize("fault", ["hang", "drip"])
def test_a_reply_that_takes_too_long_is_asked_for_elsewhere(
    fault: str, start: Callable[[], CompletionServer], model: EmbeddedEngine
) -> None:
    slow, good = start(), start()
    slow.fault = fail_at(range(1000), fault)
    engine = connect(slow, good, timeout=0.5, concurrency=2)
    assert complete(engine, MANY, SHORT) == expect(model)
    assert good.answered == len(MANY)


def test_a_server_that_keeps_failing_is_set_aside_and_reported(
    start: Callable[[], CompletionServer],
    model: EmbeddedEngine,
    capfd: pytest.CaptureFixture[str],
) -> None:
    bad, good = start(), start()
    bad.fault = fail_at(range(1000), 500)
    engine = connect(bad, good, concurrency=2)
    # Slow enough that the bad one's pauses, a second in all, end before the work does.
    good.fault = lambda number: time.sleep(0.1)  # type: ignore[func-returns-value]
    assert complete(engine, MANY, SHORT) == expect(model)
    assert f"server {bad.url} is set aside: failed again and again" in capfd.readouterr().out
    before = len(bad.bodies)
    complete(engine, MANY[:5], SHORT)
    assert len(bad.bodies) == before


def test_a_server_that_is_down_leaves_the_work_to_the_others(
    start: Callable[[], CompletionServer], model: EmbeddedEngine
) -> None:
    down, good = start(), start()
    down.shutdown()
    down.server_close()
    assert complete(connect(down, good), MANY, SHORT) == expect(model)


def test_when_no_server_is_left_each_ones_reason_is_told(
    start: Callable[[], CompletionServer],
) -> None:
    first, second = start(), start()
    first.fault = fail_at(range(1000), 503)
    second.fault = fail_at(range(1000), "close")
    with pytest.raises(UserError, match=r"no server is left.*status 503.*RemoteProtocolError"):
        complete(connect(first, second), MANY, SHORT)


def test_what_was_answered_before_the_end_is_handed_over(
    start: Callable[[], CompletionServer],
) -> None:
    server = start()
    server.fault = fail_at(range(10, 1000), 500)
    engine = connect(server, concurrency=1)
    finished: list[int] = []
    answers = (i for i, _ in engine.generate(MANY, SHORT, lambda n: None))
    with pytest.raises(UserError, match="no server is left"):
        finished.extend(answers)
    assert len(finished) == server.answered == 10


@pytest.mark.slow
def test_a_request_that_always_fails_is_named(start: Callable[[], CompletionServer]) -> None:
    servers = [start() for _ in range(3)]
    for server in servers:
        poison = server.bodies
        server.fault = lambda number, seen=poison: (
            500 if "capital of France" in seen[number]["prompt"] else None
        )
    # Others go on, so no server is set aside for it.
    requests = [Request(TEXTS[1]), *(Request(TEXTS[0], sample=i) for i in range(400))]
    with pytest.raises(UserError, match=r"failed.*how many people live there"):
        complete(connect(*servers, concurrency=1), requests, SHORT)


def test_retry_after_is_honoured(start: Callable[[], CompletionServer]) -> None:
    server = start()
    server.fault, server.retry_after = fail_at(range(1), 429), "1.5"
    begin = time.monotonic()
    complete(connect(server, concurrency=1), MANY[:2], SHORT)
    assert time.monotonic() - begin >= 1.5


def test_no_more_requests_than_allowed_are_under_way(
    start: Callable[[], CompletionServer],
) -> None:
    first, second = start(), start()
    for server in (first, second):
        server.fault = lambda number: time.sleep(0.02)  # type: ignore[func-returns-value]
    complete(connect(first, second, concurrency=3), MANY, SHORT)
    assert first.most_under_way == second.most_under_way == 3
    assert min(first.answered, second.answered) > 10


def test_few_requests_are_shared_out(start: Callable[[], CompletionServer]) -> None:
    first, second = start(), start()
    complete(connect(first, second), MANY[:6], SHORT)
    assert first.answered == second.answered == 3


def tell(completion: Completion) -> Completion:
    """What is left of a completion where "stop" may be either end."""
    if completion.finish_reason != "eos":
        return completion
    return Completion(completion.text, "stop", completion.n_tokens)


def draw(model: EmbeddedEngine, requests: list[Request], sampling: Sampling) -> list[Completion]:
    """What a server draws for requests: each has a seed of its own."""
    return [
        dict(
            model.generate(
                [Request(each.prefix + each.text)],
                replace(sampling, seed=request_seed(each, sampling)),
            )
        )[0]
        for each in requests
    ]


# Some of the tiny model's texts have one of these, and some have not.
STOPPED = Sampling(temperature=1.0, top_p=0.9, max_new_tokens=12, stop=("c", "_"), seed=3)
FEW = MANY[:10]


@pytest.fixture(scope="module")
def stopped(model: EmbeddedEngine) -> list[Completion]:
    found = draw(model, FEW, STOPPED)
    assert {completion.finish_reason for completion in found} >= {"stop", "length"}
    return found


@pytest.mark.parametrize("name", [*CLEAR, *VAGUE])
def test_servers_of_every_dialect_are_understood(
    name: str,
    start: Callable[[], CompletionServer],
    stopped: list[Completion],
    tiny_models: dict[str, Path],
) -> None:
    server = start()
    server.dialect = {**CLEAR, **VAGUE}[name]
    found = complete(connect(server, folder=tiny_models["tiny-large"]), FEW, STOPPED)
    assert found == (stopped if name in CLEAR else list(map(tell, stopped)))
    assert server.answered == len(FEW)


def test_tokens_that_a_server_does_not_count_are_counted_by_the_tokenizer_here(
    start: Callable[[], CompletionServer], model: EmbeddedEngine, tiny_models: dict[str, Path]
) -> None:
    server, folder = start(), tiny_models["tiny-large"]
    server.dialect = without_usage
    expected = expect(model)
    counted = complete(connect(server, folder=folder), MANY, SHORT)
    assert [each.text for each in counted] == [each.text for each in expected]
    assert [each.finish_reason for each in counted] == [each.finish_reason for each in expected]
    encoder = Encoder(folder)
    assert [each.n_tokens for each in counted] == [
        len(encoder.encode([each.text])[0]) for each in expected
    ]
    assert {each.n_tokens for each in complete(connect(server), MANY, SHORT)} == {0}


def test_a_server_that_tells_neither_end_nor_length_needs_a_tokenizer_here(
    start: Callable[[], CompletionServer], tiny_models: dict[str, Path]
) -> None:
    server = start()
    server.dialect = without_both
    with pytest.raises(
        UserError, match=r"no server is left: .*says neither how a text ended .* a `tokenizer`"
    ):
        complete(connect(server), MANY, SHORT)
    assert complete(connect(server, folder=tiny_models["tiny-large"]), MANY, SHORT)


@pytest.mark.parametrize("with_tokenizer", [True, False])
def test_a_server_that_cuts_the_beginning_off_is_set_aside(
    with_tokenizer: bool,
    start: Callable[[], CompletionServer],
    model: EmbeddedEngine,
    tiny_models: dict[str, Path],
) -> None:
    folder = tiny_models["tiny-large"] if with_tokenizer else None
    requests = [Request("So " * 80 + f"{i}:") for i in range(8)]
    cut, good = start(), start()
    cut.context = 64
    with pytest.raises(UserError, match=r"no server is left: .* read 64 tokens of a request of"):
        complete(connect(cut, folder=folder), requests, SHORT)
    expected = draw(model, requests, SHORT)
    assert complete(connect(cut, good, folder=folder), requests, SHORT) == expected


def test_what_a_server_lays_around_token_ids_is_seen(
    start: Callable[[], CompletionServer], tiny_models: dict[str, Path]
) -> None:
    server = start()
    server.dialect = lambda completion, read, body: OPENAI(completion, read + 9, body)
    with pytest.raises(UserError, match=r"read \d+ tokens of a request of \d+ tokens, .* add noth"):
        complete(connect(server, folder=tiny_models["tiny-large"]), MANY, SHORT)
    # A bos of its own, or some in its cache, are no other text.
    server.dialect = lambda completion, read, body: OPENAI(completion, read + 1, body)
    assert complete(connect(server, folder=tiny_models["tiny-large"]), MANY, SHORT)

    def count_apart(completion: Completion, read: int, body: dict[str, Any]) -> dict[str, Any]:
        reply = OPENAI(completion, read - 5, body)
        reply["usage"]["prompt_tokens_details"] = {"cached_tokens": 5}
        return reply

    server.dialect = count_apart
    assert complete(connect(server, folder=tiny_models["tiny-large"]), MANY, SHORT)


@pytest.mark.parametrize("fault", [400, 413, 422])
def test_few_refused_requests_cost_no_other_request(
    fault: int,
    start: Callable[[], CompletionServer],
    model: EmbeddedEngine,
    capfd: pytest.CaptureFixture[str],
) -> None:
    server = start()
    server.fault = lambda number: fault if "7 + 5" in server.bodies[number]["prompt"] else None
    few = [Request(TEXTS[4]), *(Request(TEXTS[0], sample=i) for i in range(9))]
    refused, *others = complete(connect(server), few, SHORT)
    assert refused == Completion("", "refused", 0)
    assert others == draw(model, few[1:], SHORT)
    log = capfd.readouterr().out
    assert f"server {server.url} refuses a request (status {fault}: fault {fault}), the one" in log


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_server_that_refuses_from_the_start_ends_it_early_in_its_own_words(
    status: int, start: Callable[[], CompletionServer]
) -> None:
    server = start()
    server.fault = fail_at(range(1000), status)
    with pytest.raises(
        UserError,
        match=rf"server {server.url} refuses a request .status {status}: fault {status}.; what "
        r"was answered is kept\. 6 of 6 were refused, more than generation.max_refused_share "
        r".5%. allows: mend the server, or raise the share",
    ):
        complete(connect(server, concurrency=1), MANY, SHORT)
    assert len(server.bodies) <= 7


def test_the_share_of_refusals_counts_and_not_their_number(
    start: Callable[[], CompletionServer],
) -> None:
    server = start()
    server.respond = lambda body: OPENAI(Completion("So", "length", 4), 1, body)  # type: ignore[method-assign]
    requests = [Request("Why?", sample=i) for i in range(160)]
    # One in 25 is less than 5 %, one in 15 more.
    server.fault = lambda number: 400 if number % 25 == 24 else None
    found = complete(connect(server), requests, SHORT)
    assert sum(each.finish_reason == "refused" for each in found) == 6
    server.fault = lambda number: 400 if number % 15 == 14 else None
    with pytest.raises(UserError, match=r"\d+ of \d+ were refused"):
        complete(connect(server), requests, SHORT)


def test_by_option_one_refusal_ends_it(start: Callable[[], CompletionServer]) -> None:
    server = start()
    server.fault = fail_at(range(20, 21), 400)
    engine = connect(server)
    engine.max_refused_share = 0
    with pytest.raises(UserError, match=r"max_refused_share .0%. allows"):
        complete(engine, MANY, SHORT)


def test_what_was_refused_is_asked_again_in_the_next_run(
    start: Callable[[], CompletionServer], tmp_path: Path
) -> None:
    server = start()
    server.fault = fail_at(range(4, 6), 422)
    group = RequestGroup(name="a", prefix="", sampling=SHORT, texts=[f"{i}?" for i in range(20)])
    asked = Asked(
        "test",
        ModelFolder(name="tiny", folder=None, fingerprint="f"),
        options_for(server),
        ResponsesTask(groups=[group]),
    )
    [(folder, cost)] = run_workers([asked], tmp_path)
    reasons = [each.finish_reason for _, each in read_answers(folder / "answers_0.jsonl")]
    assert reasons.count("refused") == cost["requests_refused"] == 2
    assert cost["requests_generated"] == 18
    [(folder, cost)] = run_workers([asked], tmp_path)
    assert all(each.text for _, each in read_answers(folder / "answers_0.jsonl"))
    assert (cost["requests_generated"], cost["requests_from_cache"]) == (2, 18)
    assert cost["requests_refused"] == 0


@pytest.mark.parametrize("wrap", [{"code": 502}, *some_more({"code": None}, {})])
def test_an_error_with_status_200_is_tried_again(
    wrap: dict[str, Any], start: Callable[[], CompletionServer], model: EmbeddedEngine
) -> None:
    server = start()
    dialect, calls = server.dialect, iter(range(1000))

    def fail_twice(completion: Completion, read: int, body: dict[str, Any]) -> dict[str, Any]:
        if next(calls) < 2:
            return {"error": {"message": "upstream", **wrap}}
        return dialect(completion, read, body)

    server.dialect = fail_twice
    assert complete(connect(server), MANY, SHORT) == expect(model)


def test_the_key_is_sent_and_never_shown(
    start: Callable[[], CompletionServer], capfd: pytest.CaptureFixture[str]
) -> None:
    server = start()
    server.key = "sk-secret"
    engine = connect(server, key="mine", keys={"mine": "sk-secret"})
    assert len(complete(engine, MANY, SHORT)) == len(MANY)
    # This server repeats a wrong key, as some do.
    with pytest.raises(UserError, match=r"refuses the key 'mine'.*credentials\.yml") as caught:
        complete(connect(server, key="mine", keys={"mine": "sk-wrong"}), MANY, SHORT)
    assert "sk-wrong" not in str(caught.value) + capfd.readouterr().out
    with pytest.raises(UserError, match="refuses requests without a key"):
        complete(connect(server), MANY, SHORT)
    with pytest.raises(UserError, match="its key 'mine' is empty or missing"):
        connect(server, key="mine")


def options_for(server: CompletionServer, **options: object) -> GenerationOptions:
    entry = {"url": server.url, "model": "tiny", **options}
    return GenerationOptions.model_validate({"engine": "openai", "servers": [entry]})


def test_servers_are_asked_before_anything_is_generated(
    start: Callable[[], CompletionServer],
) -> None:
    server = start()
    assert check_servers(["tiny"], options_for(server), {}) == []
    with pytest.raises(UserError, match=r"serves 'tiny', not 'other'; set `served_as`"):
        check_servers(["tiny"], options_for(server, served_as="other"), {})
    wrong = options_for(server, url=server.url.removesuffix("/v1"))
    with pytest.raises(UserError, match=r"status 404: Not Found; is `url` the base"):
        check_servers(["tiny"], wrong, {})
    server.shutdown()
    server.server_close()
    (line,) = check_servers(["tiny"], options_for(server), {})
    assert "is not ready: ConnectError" in line
    assert server.bodies == []


@pytest.mark.parametrize(
    "listed", [[{"id": "tiny"}], {"object": "list", "data": [{"id": "tiny:latest"}]}]
)
def test_models_are_listed_in_several_ways(
    listed: object, start: Callable[[], CompletionServer]
) -> None:
    server = start()
    server.listed = (200, listed)
    assert check_servers(["tiny"], options_for(server), {}) == []
    assert len(complete(connect(server), MANY[:2], SHORT)) == 2


@pytest.mark.parametrize("status", [400, 422])
def test_a_server_that_refuses_to_list_its_models_is_one_clear_line(
    status: int, start: Callable[[], CompletionServer]
) -> None:
    server = start()
    server.listed = (status, {"error": "no such route"})
    said = rf"does not list its models .status {status}: no such route"
    with pytest.raises(UserError, match=said):
        check_servers(["tiny"], options_for(server), {})
    with pytest.raises(UserError, match=f"no server is left: .* {said}"):
        complete(connect(server), MANY[:2], SHORT)


def test_servers_can_be_asked_from_a_notebook(start: Callable[[], CompletionServer]) -> None:
    async def cell() -> list[str]:
        return check_servers(["tiny"], options_for(start()), {})

    assert asyncio.run(cell()) == []


def test_texts_go_out_as_token_ids_if_there_is_a_tokenizer(
    start: Callable[[], CompletionServer], tiny_models: dict[str, Path]
) -> None:
    server = start()
    complete(connect(server), REQUESTS[:1], GREEDY)
    complete(connect(server, folder=tiny_models["tiny-large"]), REQUESTS[:1], GREEDY)
    text, ids = (body["prompt"] for body in server.bodies)
    assert text == REQUESTS[0].prefix + REQUESTS[0].text
    assert server.engine.tokenizer.decode(ids) == text


def test_a_request_carries_its_sampling_and_a_seed_of_its_own(
    start: Callable[[], CompletionServer],
) -> None:
    server = start()
    complete(connect(server), [Request("a", sample=i) for i in range(3)], DRAWN)
    for body in server.bodies:
        assert (body["temperature"], body["top_p"], body["max_tokens"]) == (1.0, 0.9, 24)
    assert len({body["seed"] for body in server.bodies}) == 3
