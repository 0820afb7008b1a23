"""The generation contract as checks that every engine has to pass, on whatever model it runs."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import torch
from near_ties import Referee
from transformers import AutoModelForCausalLM

from almost_kedro.contract import Completion, Request, Sampling
from almost_kedro.generation.engine import Engine
from almost_kedro.models.tokens import Encoder

PREFIX = "A person talks with an assistant. " * 6 + "\n\n-----"
TEXTS = [
    "\n\nHuman: Why?\n\nAssistant:",
    "\n\nHuman: What is the capital of France, and how many people live there?\n\nAssistant:",
    "\n\nHuman: Hi.\n\nAssistant:",
    "\n\nHuman: Tell me a long story about a small dog.\n\nAssistant:",
    "\n\nHuman: 7 + 5?\n\nAssistant:",
]
REQUESTS = [Request(text, PREFIX) for text in TEXTS]
GREEDY = Sampling(temperature=0.0, top_p=1.0, max_new_tokens=24)
DRAWN = Sampling(temperature=1.0, top_p=0.9, max_new_tokens=24, seed=5)


def complete(engine: Engine, requests: list[Request], sampling: Sampling) -> list[Completion]:
    """Answer requests; every one is answered exactly once."""
    counted: list[int] = []
    results = list(engine.generate(requests, sampling, counted.append))
    assert sorted(i for i, _ in results) == list(range(len(requests)))
    assert sum(counted) == sum(completion.n_tokens for _, completion in results)
    return [completion for _, completion in sorted(results, key=lambda found: found[0])]


@lru_cache(maxsize=1)
def load_model(folder: Path) -> torch.nn.Module:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def generate_plainly(folder: Path, text: str, n: int) -> list[int]:
    """Greedy decoding by transformers' own `generate`: one row, without what ended it."""
    encoder, model = Encoder(folder), load_model(folder)
    ids = encoder.encode([text])[0]
    configured = model.generation_config.eos_token_id
    ends = {*encoder.end_ids, *(configured if isinstance(configured, list) else [configured])}
    output = model.generate(
        torch.tensor([ids]),
        attention_mask=torch.ones(1, len(ids)),
        do_sample=False,
        max_new_tokens=n,
        eos_token_id=sorted(ends),
    )[0, len(ids) :].tolist()
    return output[:-1] if output and output[-1] in ends else output


def check_greedy_answers_equal_plain_generate(engine: Engine, folder: Path) -> None:
    encoder = Encoder(folder)
    for request, answer in zip(REQUESTS, complete(engine, REQUESTS, GREEDY), strict=True):
        text = request.prefix + request.text
        plain = generate_plainly(folder, text, GREEDY.max_new_tokens)
        if answer.text != encoder.tokenizer.decode(plain, skip_special_tokens=True):
            ids = encoder.encode([answer.text])[0]
            prompt = encoder.encode([text])[0]
            assert Referee(folder).is_near_tie(prompt, ids, plain, request, GREEDY)


def check_a_stop_string_ends_a_row_and_is_cut_off(engine: Engine, folder: Path) -> None:
    whole = complete(engine, REQUESTS, GREEDY)
    stop = whole[0].text[8:11]
    at = whole[0].text.index(stop)
    sampling = Sampling(temperature=0.0, top_p=1.0, max_new_tokens=24, stop=(stop,))
    stopped = complete(engine, REQUESTS, sampling)[0]
    assert stopped.text == whole[0].text[:at]
    assert stopped.finish_reason == "stop"
    assert stopped.n_tokens < whole[0].n_tokens


def check_the_token_limit_is_exact_and_said(engine: Engine, folder: Path) -> None:
    answers = complete(engine, REQUESTS, DRAWN)
    assert any(answer.finish_reason == "length" for answer in answers)
    for answer in answers:
        assert answer.n_tokens == 24 or (answer.finish_reason == "eos" and answer.n_tokens < 24)


def check_special_tokens_in_a_text_are_plain_characters(engine: Engine, folder: Path) -> None:
    """Read as a token, the text would be an end of text; as characters it is just a word."""
    special = Encoder(folder).tokenizer.eos_token
    request = Request(f"{special} and {special} are two words. Again: {special} and", PREFIX)
    answer = complete(engine, [request], GREEDY)[0]
    plain = generate_plainly(folder, request.prefix + request.text, GREEDY.max_new_tokens)
    assert answer.text == Encoder(folder).tokenizer.decode(plain, skip_special_tokens=True)


def check_repeated_requests_draw_their_own_tokens(engine: Engine, folder: Path) -> None:
    answers = complete(engine, [Request(TEXTS[3], PREFIX, sample=i) for i in range(4)], DRAWN)
    assert len({answer.text for answer in answers}) == 4


def check_another_seed_draws_other_tokens(engine: Engine, folder: Path) -> None:
    other = Sampling(temperature=1.0, top_p=0.9, max_new_tokens=24, seed=6)
    assert complete(engine, REQUESTS, DRAWN) != complete(engine, REQUESTS, other)


def check_several_prefixes_in_one_call(engine: Engine, folder: Path) -> None:
    others = [Request(text, "Something else.\n\n-----") for text in TEXTS]
    mixed = [request for pair in zip(REQUESTS, others, strict=True) for request in pair]
    answers = complete(engine, mixed, GREEDY)
    same = sum(
        a == b
        for a, b in zip(
            answers,
            [
                answer
                for pair in zip(
                    complete(engine, REQUESTS, GREEDY),
                    complete(engine, others, GREEDY),
                    strict=True,
                )
                for answer in pair
            ],
            strict=True,
        )
    )
    assert same >= len(mixed) - 1  # one may be decided by rounding


def check_more_requests_than_run_at_once(engine: Engine, folder: Path) -> None:
    short = Sampling(temperature=1.0, top_p=0.9, max_new_tokens=2, seed=1)
    requests = [Request(TEXTS[i % 5], sample=i) for i in range(150)]
    answers = complete(engine, requests, short)
    assert all(1 <= answer.n_tokens <= 2 for answer in answers)


def check_no_request_is_no_answer(engine: Engine, folder: Path) -> None:
    assert complete(engine, [], DRAWN) == []


CHECKS: list[Callable[[Engine, Path], None]] = [
    check_greedy_answers_equal_plain_generate,
    check_a_stop_string_ends_a_row_and_is_cut_off,
    check_the_token_limit_is_exact_and_said,
    check_special_tokens_in_a_text_are_plain_characters,
    check_repeated_requests_draw_their_own_tokens,
    check_another_seed_draws_other_tokens,
    check_several_prefixes_in_one_call,
    check_more_requests_than_run_at_once,
    check_no_request_is_no_answer,
]
