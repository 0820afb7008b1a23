"""Rules 1 to 7: the seed file, a request, what is read from an output, what is dropped."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_rows import make_prompt

from almost_kedro.contract import Completion, FinishReason, Request, Sampling
from almost_kedro.errors import UserError
from almost_kedro.feedback.overlap import OverlapIndex, tokenize_words
from almost_kedro.feedback.prompts import (
    Generate,
    PromptJudge,
    PromptRun,
    build_prompt_request,
    check_overlap,
    check_prompt_length,
    extract_prompt,
    format_prompts_txt,
    generate_prompts,
    prompt_sampling,
)
from almost_kedro.feedback.seeds import SeedFile, read_seed_file
from almost_kedro.feedback.wordpiece import load_wordpiece
from almost_kedro.options.feedback import PromptGenerationOptions
from almost_kedro.options.rules import Rules
from almost_kedro.rows.feedback import Ledger, PromptRequests, Prompts

SEEDS = SeedFile("Write.", ("Red fox jumps?", "Blue owl sings?", "Old ship sinks?", "Tall tree!"))
CATS = "Why do cats purr at night?"
RIVERS = "Name three long rivers in Peru."
PAPER = "How is paper made from wood?"


def make_options(**changes: Any) -> PromptGenerationOptions:
    values = {"model": "m", "n_prompts": 2, "shots": 2, "round_size": 2}
    return PromptGenerationOptions.model_validate(values | changes)


def script(*outputs: str, finish: FinishReason = "stop") -> Generate:
    """A model that writes these outputs in turn, then nothing any more."""
    left = list(outputs)

    def generate(requests: Sequence[Request], _: Sampling) -> list[tuple[str, Completion]]:
        return [
            (request.hash(), Completion(left.pop(0) if left else "", finish, 9))
            for request in requests
        ]

    return generate


def write_numbered(requests: Sequence[Request], _: Sampling) -> list[tuple[str, Completion]]:
    """A model whose every prompt has words of its own."""
    return [
        (r.hash(), Completion(f" alpha{r.sample} beta{r.sample} gamma{r.sample}?", "stop", 5))
        for r in requests
    ]


def run_rounds(
    generate: Generate, rules: Rules = "corrected", seed: int = 0, **changes: Any
) -> PromptRun:
    options = make_options(**changes)
    return generate_prompts(SEEDS, options, rules, seed, generate, {rules: tokenize_words})


# Rule 1


@pytest.mark.parametrize(
    "text",
    [
        "Write.\nOne?\nTwo?\n",
        "Write.\nOne?\nTwo?",
        "\ufeffWrite.\nOne?\nTwo?\n",
        "Write.\r\nOne?\r\nTwo?\r\n",
        "\ufeffWrite.\r\n\r\nOne?\r\n  \r\nTwo?",
        "\n\nWrite.\n\n\nOne?\n \t\n  Two?  \n\n",
    ],
)
def test_seed_file_is_an_instruction_and_one_prompt_a_line(text: str) -> None:
    assert read_seed_file(text) == SeedFile("Write.", ("One?", "Two?"))


@pytest.mark.parametrize(
    ("text", "found"),
    [("", 0), ("\ufeff", 0), ("\n \r\n", 0), ("Write.", 1), ("\ufeffWrite.\r\n\r\n", 1)],
)
def test_seed_file_without_a_seed_is_refused(text: str, found: int) -> None:
    with pytest.raises(UserError, match=f"seed_prompts: found {found} lines .* on each further"):
        read_seed_file(text)


# Rule 2


def test_request_is_instruction_blank_line_queries_and_a_bare_query() -> None:
    prefix, text = build_prompt_request("Write.", ["One?", "Two?"])
    assert prefix + text == "Write.\n\nQuery: One?\nQuery: Two?\nQuery:"


def test_request_prefix_is_the_same_whatever_is_drawn() -> None:
    first, _ = build_prompt_request("Write.", ["One?"])
    second, _ = build_prompt_request("Write.", ["Two?", "Three?"])
    assert first == second == "Write.\n\n"


def test_ten_shots_are_drawn_without_replacement_by_default() -> None:
    seeds = SeedFile("Write.", tuple(f"seed{i} word{i}?" for i in range(12)))
    options = PromptGenerationOptions(model="m", n_prompts=1, round_size=8)
    tokenizers: Any = {"corrected": tokenize_words}
    run = generate_prompts(seeds, options, "corrected", 0, write_numbered, tokenizers)
    assert [len(set(request["shot_ids"])) for request in run.requests] == [10] * 8


# Rule 3


@pytest.mark.parametrize(("rules", "stop"), [("original", ()), ("corrected", ("\n",))])
def test_prompts_are_sampled_as_published(rules: Rules, stop: tuple[str, ...]) -> None:
    options = PromptGenerationOptions(model="m", n_prompts=1)
    assert prompt_sampling(options, rules, seed=7) == Sampling(1.2, 0.9, 64, stop, 7)


# Rule 4


@pytest.mark.parametrize(
    ("output", "prompt"),
    [
        ("Query: Is it late?", "Is it late?"),
        ("\nNoise\nQuery:  Is it late? \nQuery: No", "Is it late?"),
        ("Query:Is it late? QUERY: No", "Is it late?"),
        ("Query: Is it late? query: No", "Is it late?"),
        ("Noise\r\nQuery: Is it late?\r\nNo", "Is it late?"),
        ("query: Is it late?", None),
        (" Query: Is it late?", None),
        ("Query:\nQuery: Is it late?", None),
        ("Is it late?", None),
        ("", None),
    ],
)
def test_original_takes_the_first_line_that_starts_with_query(
    output: str, prompt: str | None
) -> None:
    assert extract_prompt(output, "original") == prompt


@pytest.mark.parametrize(
    ("output", "prompt"),
    [
        (" Is it late?", "Is it late?"),
        (" Is it late? \nQuery: No", "Is it late?"),
        (" Is it late?\r\nQuery: No", "Is it late?"),
        (" Is it late? QuErY: No", "Is it late?"),
        ("\nQuery: Is it late?", None),
        ("query: Is it late?", None),
        ("", None),
    ],
)
def test_corrected_takes_the_line_that_continues_the_request(
    output: str, prompt: str | None
) -> None:
    assert extract_prompt(output, "corrected") == prompt


def test_original_loses_the_first_query_and_corrected_keeps_it() -> None:
    output = f" {CATS}\nQuery: {RIVERS}\nQuery: How i"
    assert extract_prompt(output, "original") == RIVERS
    assert extract_prompt(output, "corrected") == CATS


OUTPUTS = st.lists(
    st.sampled_from(["Query:", "query:", "QUERY:", "\n", "\r\n", " ", "Why?"]) | st.text(max_size=4)
).map("".join)


@given(output=OUTPUTS, rules=st.sampled_from(["original", "corrected"]))
@settings(deadline=None, max_examples=200)
def test_extracted_prompt_is_one_stripped_line_without_a_query(output: str, rules: Rules) -> None:
    prompt = extract_prompt(output, rules)
    if prompt is not None:
        assert prompt
        assert prompt == prompt.strip()
        assert prompt in output
        assert "\n" not in prompt
        assert "query:" not in prompt.lower()


@given(output=OUTPUTS)
@settings(deadline=None, max_examples=200)
def test_extracting_twice_changes_nothing(output: str) -> None:
    prompt = extract_prompt(output, "corrected")
    if prompt is not None:
        assert extract_prompt(prompt, "corrected") == prompt
    query = extract_prompt(output, "original")
    if query is not None:
        assert extract_prompt(f"Query: {query}", "original") == query


# Rule 5


@pytest.mark.parametrize(
    ("prompt", "original", "corrected"),
    [
        ("x" * 29, "rule_5_too_short", "rule_5_too_short"),
        ("x" * 30, "ok", "ok"),
        ("x" * 28 + "?", "ok", "ok"),
        ("x.", "ok", "ok"),
        ("x!", "ok", "ok"),
        ("x" * 250, "ok", "ok"),
        ("x" * 249 + ".", "ok", "ok"),
        ("x" * 250 + ".", "rule_5_too_long", "ok"),
        ("x" * 251, "ok", "rule_5_too_long"),
    ],
)
def test_length_rule_is_inverted_for_long_prompts_in_original_only(
    prompt: str, original: str, corrected: str
) -> None:
    assert check_prompt_length(prompt, "stop", "original").rule == original
    assert check_prompt_length(prompt, "stop", "corrected").rule == corrected


@pytest.mark.parametrize("prompt", ["Why does the sky look so blue in the", CATS])
def test_prompt_cut_off_by_the_token_limit_passes_in_original_only(prompt: str) -> None:
    assert check_prompt_length(prompt, "length", "original").rule == "ok"
    assert check_prompt_length(prompt, "length", "corrected").rule == "rule_5_cut_off"


def test_length_verdict_says_what_was_found() -> None:
    verdict = check_prompt_length("Tell me", "eos", "corrected")
    assert verdict.detail == "7 characters, without final punctuation"


# Rule 6


@pytest.mark.parametrize(
    ("prompt", "rule"),
    # LCS 2: 2 x 2 / (4 + 4) = 0.5, and 2 x 2 / (4 + 5) = 0.444
    [("a b x y", "rule_6_overlap"), ("a b x y z", "ok"), ("b a", "ok"), ("w x y z", "ok")],
)
def test_prompt_with_rouge_l_of_one_half_overlaps(prompt: str, rule: str) -> None:
    index = OverlapIndex(0.5)
    index.add("s1", ["a", "b", "c", "d"])
    assert check_overlap(prompt, index, str.split).rule == rule


def test_overlap_verdict_names_score_and_text() -> None:
    index = OverlapIndex(0.5)
    index.add("s1", ["a", "b", "c", "d"])
    assert check_overlap("a b x y", index, str.split).detail == "ROUGE-L F 0.500 with s1"


@pytest.mark.parametrize("in_force", ["original", "corrected"])
def test_original_compares_word_pieces_and_corrected_words(tmp_path: Path, in_force: Rules) -> None:
    # un ##play ##ed un ##walk ##ed (6) and un ##play ##ing un ##walk ##ing ? (7): 2 x 4 / 13 = 0.62
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "un", "##play", "##walk", "##ed"]
    (tmp_path / "vocab.txt").write_text("\n".join([*pieces, "##ing", "?"]))
    tokenizers: Any = {"original": load_wordpiece(str(tmp_path)), "corrected": tokenize_words}
    judge = PromptJudge(0.5, in_force, tokenizers)
    judge.accept("s1", "unplayed unwalked")
    verdict = judge.verdict(
        "Unplaying Unwalking?", Completion("Unplaying Unwalking?", "stop", 9), "original"
    )
    assert (verdict.rule, verdict.detail) == ("rule_6_overlap", "ROUGE-L F 0.615 with s1")
    assert judge.verdict(
        "Unplaying Unwalking?", Completion("Unplaying Unwalking?", "stop", 9), "corrected"
    ).kept


@pytest.mark.parametrize("rules", ["original", "corrected"])
def test_missing_tokenizer_of_the_other_rules_is_replaced(rules: Rules) -> None:
    judge = PromptJudge(0.5, rules, {rules: tokenize_words})
    judge.accept("s1", CATS)
    assert judge.verdict(CATS, Completion(CATS, "stop", 9), "original").rule == "rule_6_overlap"
    assert judge.verdict(CATS, Completion(CATS, "stop", 9), "corrected").rule == "rule_6_overlap"


@pytest.mark.parametrize(("rules", "head"), [("original", "\nQuery: "), ("corrected", " ")])
def test_prompt_that_repeats_a_seed_or_an_accepted_one_is_dropped(rules: Rules, head: str) -> None:
    outputs = [head + CATS, head + CATS, head + "Red fox jumps now?", head + PAPER]
    run = run_rounds(script(*outputs), rules, round_size=4)
    assert [prompt["text"] for prompt in run.prompts] == [CATS, PAPER]
    verdicts = [request["verdict"] for request in run.requests]
    assert verdicts == ["ok", "rule_6_overlap", "rule_6_overlap", "ok"]


# Rule 7


def test_prompts_txt_has_one_prompt_a_line() -> None:
    prompts = [make_prompt("p1", CATS), make_prompt("p2", "Two\rlines  or\u2028three?")]
    assert format_prompts_txt(prompts) == f"{CATS}\nTwo lines or three?\n"


def test_no_prompts_make_an_empty_file() -> None:
    assert format_prompts_txt([]) == ""


@given(texts=st.lists(st.text().filter(str.strip)))
@settings(deadline=None, max_examples=100)
def test_prompts_txt_has_as_many_lines_as_prompts(texts: list[str]) -> None:
    prompts = [make_prompt("p1", text) for text in texts]
    assert len(format_prompts_txt(prompts).splitlines()) == len(texts)


# Rounds


def test_shots_are_drawn_from_the_pool_before_the_round() -> None:
    run = run_rounds(write_numbered, n_prompts=8, round_size=4, shots=4)
    first, second = run.requests[:4], run.requests[4:]
    seeds = set(first[0]["shot_ids"])
    assert len(seeds) == 4
    assert all(set(request["shot_ids"]) == seeds for request in first)
    accepted = {prompt["prompt_id"] for prompt in run.prompts[:4]}
    drawn = {shot for request in second for shot in request["shot_ids"]}
    assert drawn <= seeds | accepted
    assert drawn & accepted
    assert [request["round"] for request in run.requests] == [0, 0, 0, 0, 1, 1, 1, 1]


def test_request_shows_the_texts_of_its_shots() -> None:
    asked: list[Request] = []

    def record(requests: Sequence[Request], sampling: Sampling) -> list[tuple[str, Completion]]:
        asked.extend(requests)
        return write_numbered(requests, sampling)

    run = run_rounds(record, n_prompts=4)
    texts = {prompt["prompt_id"]: prompt["text"] for prompt in run.prompts}
    for request, row in zip(asked, run.requests, strict=True):
        lines = (request.prefix + request.text).split("\n")
        assert lines[0] == "Write."
        assert lines[-1] == "Query:"
        for line, shot in zip(lines[2:-1], row["shot_ids"], strict=True):
            assert line == f"Query: {texts[shot]}" if shot in texts else line[7:] in SEEDS.prompts


@pytest.mark.parametrize("batch", [1, 3])
def test_result_does_not_depend_on_how_requests_are_batched(batch: int) -> None:
    def generate(requests: Sequence[Request], sampling: Sampling) -> list[tuple[str, Completion]]:
        done = {}
        for start in reversed(range(0, len(requests), batch)):
            for request in requests[start : start + batch]:
                done[request] = write_numbered([request], sampling)[0]
        return [done[request] for request in requests]

    whole = run_rounds(write_numbered, n_prompts=10, round_size=7)
    assert run_rounds(generate, n_prompts=10, round_size=7) == whole


def test_same_seed_draws_the_same_and_another_seed_others() -> None:
    runs = [run_rounds(write_numbered, seed=seed, n_prompts=6) for seed in (1, 1, 2)]
    assert runs[0] == runs[1]
    assert [r["shot_ids"] for r in runs[0].requests] != [r["shot_ids"] for r in runs[2].requests]


def test_accepted_prompts_are_reported_after_each_round() -> None:
    seen: list[int] = []
    options = make_options(n_prompts=5)
    tokenizers: Any = {"corrected": tokenize_words}
    generate_prompts(SEEDS, options, "corrected", 0, write_numbered, tokenizers, seen.append)
    assert seen == [2, 4, 5]


@pytest.mark.parametrize(("rules", "head"), [("original", "\nQuery: "), ("corrected", " ")])
def test_too_few_prompts_stop_the_run_and_name_counts_by_rule(rules: Rules, head: str) -> None:
    generate = script("", head + "Too short", head + CATS, head + CATS)
    with pytest.raises(UserError) as error:
        run_rounds(generate, rules, max_requests_per_prompt=3)
    message = str(error.value)
    assert message.startswith("prompt_generation: accepted 1 of 2 prompts in 6 requests")
    assert "(rejected by rule_4_no_query: 3, rule_5_too_short: 1, rule_6_overlap: 1)" in message
    assert "raise max_requests_per_prompt" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("output", "remedy"),
    [
        (" Too short", "; give seeds of 30 characters or more, with final punctuation"),
        ("\n", "; take another model, which writes a prompt where one is asked for"),
        (" " + "long " * 60, "; give seeds of at most 250 characters"),
    ],
)
def test_only_what_can_help_is_named_where_nothing_was_accepted(output: str, remedy: str) -> None:
    """Neither fewer prompts nor more requests, and no other threshold of a rule that kept all."""
    with pytest.raises(UserError) as error:
        run_rounds(script(*[output] * 6), "corrected", max_requests_per_prompt=3)
    message = str(error.value)
    assert message.startswith("prompt_generation: accepted 0 of 2 prompts in 6 requests")
    assert message.endswith(f"){remedy}")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"instruction": "A"}\n{"instruction": "B"}\n', "JSON lines of instruction"),
        (
            'Write.\n\n{"id": 1, "prompt": "A"}\n{"id": 2, "prompt": "B"}',
            "JSON lines of id, prompt",
        ),
        ('\ufeff{"instruction": "A"}\r\n{"instruction": "B"}\r\n', "JSON lines of instruction"),
        ('[\n  {"instruction": "A"},\n  {"instruction": "B"}\n]\n', "JSON"),
        ('["A", "B"]', "JSON"),
        ('"Write."\n"A"\n"B"\n', "JSON"),
        ('{\n"instruction":\n"A"\n}', "JSON"),
        (
            "instruction,input,output\nDo A,,B\n",
            "table with the columns instruction, input, output",
        ),
        ("id\tprompt\n1\tA\n", "a table with the columns id, prompt"),
        ("Prompt\nWhy?\n", "a table with the columns prompt"),
    ],
)
def test_seeds_of_other_projects_are_refused_in_one_line(text: str, found: str) -> None:
    with pytest.raises(
        UserError, match=f"seed_prompts: found .*{found}.*; give plain lines"
    ) as error:
        read_seed_file(text)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "seed",
    ['{"a": 1}', "[1, 2, 3]", '{"broken":', "instruction, input, output", "prompt", "{x}", '"A"'],
)
def test_a_seed_may_look_like_code(seed: str) -> None:
    seeds = read_seed_file(f"Write a message.\n{seed}\nWhy is the sky blue?\nHow?\n")
    assert seeds.prompts == (seed, "Why is the sky blue?", "How?")


@pytest.mark.parametrize(("rules", "head"), [("original", "\nQuery: "), ("corrected", " ")])
def test_prompts_beyond_the_wanted_number_go_to_the_ledger(rules: Rules, head: str) -> None:
    run = run_rounds(
        script(head + CATS, head + RIVERS, head + "No", head + PAPER),
        rules,
        n_prompts=1,
        round_size=4,
    )
    assert [prompt["text"] for prompt in run.prompts] == [CATS]
    dropped = [row["rule"] for row in run.ledger if row["rule"] != "ok"]
    assert dropped == ["surplus", "rule_5_too_short", "surplus"]


@pytest.mark.parametrize("rules", ["original", "corrected"])
def test_a_request_that_a_server_refused_is_dropped_and_another_is_made(rules: Rules) -> None:
    write = write_numbered if rules == "corrected" else script(f"\nQuery: {CATS}", finish="stop")
    asked: list[Request] = []

    def refuse_first(
        requests: Sequence[Request], sampling: Sampling
    ) -> list[tuple[str, Completion]]:
        found = [] if asked else [(requests[0].hash(), Completion("", "refused", 0))]
        asked.extend(requests)
        return found + write(requests[len(found) :], sampling)

    run = run_rounds(refuse_first, rules, n_prompts=1)
    assert len(run.prompts) == 1
    first = run.ledger[0]
    assert first["row_id"] == run.requests[0]["request_id"]
    assert (first["original"], first["corrected"]) == ("server_refused", "server_refused")
    PromptRequests().validate(run.requests)  # type: ignore[arg-type]


def test_every_request_is_a_prompt_or_a_ledger_row() -> None:
    run = run_rounds(script("", " " + CATS, " No", " " + PAPER, " " + RIVERS), round_size=5)
    requests = {row["request_id"] for row in run.requests}
    accepted = {row["request_id"] for row in run.prompts}
    dropped = {row["row_id"] for row in run.ledger if row["rule"] != "ok"}
    assert accepted | dropped == requests
    assert not accepted & dropped


def test_rows_of_a_run_pass_their_validators() -> None:
    run = run_rounds(script("", " " + CATS, " No", " " + PAPER, " " + RIVERS), round_size=5)
    data: Any = run
    assert PromptRequests().validate(data.requests)
    assert Prompts().validate(data.prompts)
    assert Ledger().validate(data.ledger)


def test_kept_prompt_that_the_other_rules_drop_is_in_the_ledger() -> None:
    long = " ".join(f"word{i}" for i in range(40)) + "."
    run = run_rounds(script(" " + long), n_prompts=1, round_size=1)
    assert len(long) == 270
    assert run.ledger == [
        {
            "row_id": run.prompts[0]["request_id"],
            "rule": "ok",
            "detail": "270 characters, with final punctuation",
            "original": "rule_5_too_long",
            "corrected": "ok",
            "parent_ids": [],
        }
    ]


def test_ledger_says_where_the_two_sets_read_different_queries() -> None:
    output = f" {RIVERS}\nQuery: {CATS}"
    run = run_rounds(script(output, finish="length"), "original", n_prompts=1, round_size=1)
    assert [prompt["text"] for prompt in run.prompts] == [CATS]
    (row,) = run.ledger
    assert (row["rule"], row["original"], row["corrected"]) == ("ok", "ok", "ok")
    assert row["detail"] == f"corrected reads {RIVERS!r}"


def test_prompt_that_the_token_limit_cut_off_is_kept_by_original_and_not_by_corrected() -> None:
    assert check_prompt_length(CATS, "length", "original").kept
    assert check_prompt_length(CATS, "length", "corrected").rule == "rule_5_cut_off"


def test_prompt_that_ended_before_the_token_limit_is_not_cut_off() -> None:
    run = run_rounds(
        script(f" {CATS} Query: And why do", finish="length"), n_prompts=1, round_size=1
    )
    assert [prompt["text"] for prompt in run.prompts] == [CATS]


def test_ledger_of_original_does_not_call_a_finished_line_cut_off() -> None:
    output = f" {CATS}\nQuery: {RIVERS}"
    run = run_rounds(script(output, finish="length"), "original", n_prompts=1, round_size=1)
    assert [row["corrected"] for row in run.ledger] == ["ok"]


@pytest.mark.parametrize("rules", ["original", "corrected"])
@pytest.mark.parametrize(
    ("reason", "remedy"),
    [
        ("refused", "(rejected by server_refused: 4); mend the server; the log has what it said"),
        ("withheld", "(rejected by server_withheld: 4); give seeds that the server's filter lets"),
    ],
)
def test_where_servers_answer_nothing_the_line_says_what_helps(
    reason: FinishReason, remedy: str, rules: Rules
) -> None:
    with pytest.raises(UserError, match=re.escape(remedy)):
        run_rounds(script(finish=reason), rules, max_requests_per_prompt=2)
