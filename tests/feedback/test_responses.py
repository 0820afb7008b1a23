"""Rules 8 to 13: demonstrations, questions, what is read from an output, BAD answers."""

from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from made_rows import make_assistant, make_prompt, make_response

from almost_kedro.contract import Completion, FinishReason, Sampling
from almost_kedro.errors import UserError
from almost_kedro.feedback.responses import (
    align_responses,
    build_prefix,
    build_question,
    build_responses,
    check_answer,
    extract_answer,
    name_assistant,
    read_demonstrations,
    response_sampling,
    usable_ids,
)
from almost_kedro.feedback.scripts import find_other_ends
from almost_kedro.options.feedback import AssistantOptions, ResponseGenerationOptions
from almost_kedro.options.rules import Rules
from almost_kedro.rows.feedback import Ledger, Prompt, Responses

FIRST, SECOND = "\n\nHuman: A?\n\nAssistant: B.", "\n\nHuman: C?\n\nAssistant: D."
FILE = f"Be kind.\n\n-----{FIRST}\n\n-----{SECOND}\n\n-----\n"
GOOD = "Water boils at a lower temperature on a high mountain."
BOTH: list[Rules] = ["original", "corrected"]

# Rule 8


@pytest.mark.parametrize(
    "text",
    [
        FILE,
        FILE.rstrip("\n"),
        FILE.removesuffix("\n\n-----\n"),
        FILE.removesuffix("\n\n-----\n") + "\n",
        "\ufeff" + FILE,
        FILE.replace("\n", "\r\n"),
        "\ufeff" + FILE.replace("\n", "\r\n") + "\r\n\r\n",
    ],
)
def test_file_is_a_header_and_demonstrations(text: str) -> None:
    assert read_demonstrations(text, "HHH") == ("Be kind.", [FIRST, SECOND])


@pytest.mark.parametrize(
    "text", ["", "\ufeff", "Be kind.", "Be kind.\n\n-----\n", "\n\n-----\n \n"]
)
def test_file_without_a_demonstration_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="demonstrations 'HHH': found no demonstration; give"):
        read_demonstrations(text, "HHH")


@pytest.mark.parametrize("rules", BOTH)
def test_prefix_is_the_header_and_the_first_demonstrations_and_a_splitter(rules: Rules) -> None:
    one = "Be kind.\n\n-----\n\nHuman: A?\n\nAssistant: B.\n\n-----"
    assert build_prefix(FILE, "HHH", 1, rules) == one
    assert build_prefix(FILE, "HHH", 2, rules) == FILE.rstrip("\n")


def test_no_shots_mean_all_demonstrations_in_original_and_none_in_corrected() -> None:
    assert build_prefix(FILE, "HHH", 0, "original") == FILE.rstrip("\n")
    assert build_prefix(FILE, "HHH", 0, "corrected") == "Be kind.\n\n-----"


@pytest.mark.parametrize("rules", BOTH)
def test_more_shots_than_demonstrations_are_refused(rules: Rules) -> None:
    with pytest.raises(UserError) as error:
        build_prefix(FILE, "HHH", 3, rules)
    assert str(error.value) == (
        "demonstrations 'HHH' (HHH_prompt.txt): found 2, but an assistant asks for 3 shots; "
        "add demonstrations or lower its shots"
    )


# Rules 9 and 10


@pytest.mark.parametrize(
    ("rules", "question"),
    [
        ("original", "\n\nHuman: Why?\n\nAssistant: "),
        ("corrected", "\n\nHuman: Why?\n\nAssistant:"),
    ],
)
def test_question_follows_the_demonstrations(rules: Rules, question: str) -> None:
    assert build_question("Why?", rules) == question


@pytest.mark.parametrize(
    ("rules", "stop"),
    [("original", ()), ("corrected", ("\n\n-----", "Assistant:", "Human:"))],
)
def test_answers_are_sampled_as_published(rules: Rules, stop: tuple[str, ...]) -> None:
    assistants = [AssistantOptions(model="m", demonstrations="HHH", shots=1)]
    options = ResponseGenerationOptions(assistants=assistants, max_new_tokens=384)
    assert response_sampling(options, 768, rules, seed=3) == Sampling(1.0, 0.9, 768, stop, 3)


# Rule 11


@pytest.mark.parametrize("rules", BOTH)
@pytest.mark.parametrize(
    ("output", "answer"),
    [
        (" It is.\n", "It is."),
        ("It is.\n\n-----\n\nHuman: Next?", "It is."),
        ("It is.\n\nHuman: Next?\n\nAssistant: No.", "It is."),
        ("It is. Assistant: No.", "It is."),
        ("It is. Human: No? Assistant: No. Human: Why?", "It is."),
        ("It is.\n\n----- Assistant: No.", "It is."),
        ("It is ----- so.", "It is ----- so."),
        ("human: and assistant: stay.", "human: and assistant: stay."),
        ("Human: Next?", ""),
        ("\n\n-----", ""),
        ("", ""),
    ],
)
def test_answer_ends_at_the_first_mark(output: str, answer: str, rules: Rules) -> None:
    assert extract_answer(output, "eos", rules) == answer


@pytest.mark.parametrize(
    ("output", "answer"),
    [
        ("It is. And it wa", "It is."),
        ("It is! And it wa", "It is!"),
        ("Is it? And it wa", "Is it?"),
        ('He said "stop." Then he', 'He said "stop."'),
        ("(It is.) And it wa", "(It is.)"),
        ("It is so. Take:\n1. Salt\n2.", "It is so. Take:\n1. Salt"),
        ("It is so. Take:\n1. Salt\n2. Pep", "It is so. Take:\n1. Salt"),
        ("You need:\n- salt\n- pepper\n- gar", "You need:\n- salt\n- pepper"),
        ("It opened in 1999. It closed in 2004. And", "It opened in 1999. It closed in 2004."),
        ("She said \u201cYes, it is.\u201d Then", "She said \u201cYes, it is.\u201d"),
        ("Version 2.5 is out. Get", "Version 2.5 is out."),
        ("Well... Then", "Well..."),
        ("It is.", "It is."),
        ("It is.\n\n", "It is."),
        ("No end in sight", ""),
        ("1. Salt 2.", ""),
        ("", ""),
    ],
)
def test_answer_cut_off_by_the_token_limit_is_trimmed_at_a_sentence_end_in_corrected_only(
    output: str, answer: str
) -> None:
    assert extract_answer(output, "length", "corrected") == answer
    assert extract_answer(output, "length", "original") == output.strip()


@pytest.mark.parametrize("finish", ["eos", "stop"])
def test_answer_that_the_model_ended_keeps_its_last_line(finish: str) -> None:
    output = "Take these. You need:\n- salt\n- pepper"
    assert extract_answer(output, finish, "corrected") == output


def test_answer_that_a_mark_ended_before_the_token_limit_is_not_trimmed() -> None:
    answer = "Take these. You need:\n- salt\n- pepper"
    assert extract_answer(f"{answer}\n\nHuman: And wh", "length", "corrected") == answer


MARKS = ("Human:", "Assistant:", "\n\n-----")
OUTPUTS = st.lists(
    st.sampled_from(
        [
            "Human:",
            "Assistant:",
            "\n\n-----",
            "Hum",
            "an:",
            "\n",
            "-",
            " ",
            ".",
            "!",
            "3.",
            '"',
            "It",
        ]
    )
    | st.text(max_size=4)
).map("".join)


@given(
    output=OUTPUTS,
    finish=st.sampled_from(["eos", "stop", "length"]),
    rules=st.sampled_from(BOTH),
)
@settings(deadline=None, max_examples=400)
def test_extracted_answer_is_a_stripped_part_of_the_output_without_marks(
    output: str, finish: str, rules: Rules
) -> None:
    answer = extract_answer(output, finish, rules)
    assert answer == answer.strip()
    assert answer in output
    for mark in MARKS:
        assert mark not in answer
    assert extract_answer(answer, "eos", rules) == answer


@given(output=OUTPUTS)
@settings(deadline=None, max_examples=200)
def test_trimmed_answer_is_empty_or_ends_a_sentence(output: str) -> None:
    assume(not any(mark in output for mark in MARKS))
    answer = extract_answer(output, "length", "corrected")
    last = answer.rsplit("\n", 1)[-1].lstrip(" \t")
    of_a_list = last.startswith(("-", "*", "\u2022")) or last[:1].isdigit()
    of_a_script = len(answer) in find_other_ends(answer)
    ascii_end = answer.rstrip("\"')]*_").endswith((".", "!", "?"))
    assert not answer or of_a_list or of_a_script or ascii_end
    assert extract_answer(output, "length", "original").startswith(answer)


# Rule 12


@pytest.mark.parametrize(
    ("answer", "original", "corrected"),
    [
        ("", "rule_12_empty", "rule_12_empty"),
        ("x" * 48 + ".", "rule_12_short", "rule_12_short"),
        ("x" * 49 + ".", "ok", "ok"),
        ("x" * 49 + "!", "ok", "ok"),
        ("x" * 50, "rule_12_unfinished", "ok"),
        (GOOD + " Why?", "rule_12_open_end", "rule_12_open_end"),
        (GOOD + " These:", "rule_12_open_end", "rule_12_open_end"),
        ("Well, " + GOOD, "rule_12_well", "rule_12_well"),
        ("well " + GOOD, "rule_12_well", "rule_12_well"),
        ("WELL... " + GOOD, "rule_12_well", "rule_12_well"),
        ("Wellness " + GOOD, "rule_12_well", "ok"),
        ("Wellington " + GOOD, "rule_12_well", "ok"),
        ("Farewell, well: " + GOOD, "ok", "ok"),
        (GOOD + "\n- a pot\n- a stove", "rule_12_unfinished", "ok"),
        (GOOD + "\n```\nprint()\n```", "rule_12_unfinished", "ok"),
        (GOOD + ' "It is so."', "rule_12_unfinished", "ok"),
        ("I don't know. " + GOOD, "rule_12_phrase", "rule_12_phrase"),
        ("I do not know. " + GOOD, "rule_12_phrase", "rule_12_phrase"),
        ("Human: " + GOOD, "rule_12_phrase", "rule_12_phrase"),
        ("<Image> " + GOOD, "rule_12_phrase", "rule_12_phrase"),
    ],
)
def test_bad_answers_are_told(answer: str, original: str, corrected: str) -> None:
    assert check_answer(answer, "eos", "original").rule == original
    assert check_answer(answer, "eos", "corrected").rule == corrected


def test_answer_that_starts_with_a_compound_of_well_is_kept_by_corrected() -> None:
    assert check_answer("Well-being is more than health. " + GOOD, "eos", "corrected").rule == "ok"


@pytest.mark.parametrize("rules", BOTH)
@pytest.mark.parametrize(
    ("answer", "detail"),
    [
        ("", "nothing left; ended by eos"),
        ("Yes.", "4 characters"),
        (GOOD + " Why?", "ends in '?'"),
        ("Well, " + GOOD, "starts with 'Well, Water '"),
        ("I don't know. " + GOOD, 'contains "don\'t know"'),
    ],
)
def test_verdict_on_a_bad_answer_says_why(answer: str, detail: str, rules: Rules) -> None:
    assert check_answer(answer, "eos", rules).detail == detail


# Rule 13


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("meta-llama/Llama-2-7b-hf", "llama-2-7b-hf-HHH-1shot"),
        ("SmolLM2-135M", "smollm2-135m-HHH-1shot"),
    ],
)
def test_assistant_is_named_after_model_demonstrations_and_shots(model: str, name: str) -> None:
    assert name_assistant(AssistantOptions(model=model, demonstrations="HHH", shots=1)) == name


def test_an_off_topic_assistant_is_named_after_its_source() -> None:
    options = AssistantOptions(model="org/M", demonstrations="HHH", shots=1, off_topic=True)
    assert name_assistant(options) == "m-HHH-1shot-off-topic"


def test_an_assistant_without_demonstrations_is_named_bare() -> None:
    assert name_assistant(AssistantOptions(model="Org/M", demonstrations=None, shots=0)) == "m-bare"


def make_prompts(n: int) -> list[Prompt]:
    return [make_prompt(f"p{i}") for i in range(n)]


def test_answers_are_lists_aligned_with_the_prompts() -> None:
    responses = [
        make_response("p2", "A", "two"),
        make_response("p0", "A", "zero"),
        make_response("p1", "B", "one"),
    ]
    aligned = align_responses(make_prompts(3), responses)
    assert aligned == {"A": ["zero", "", "two"], "B": ["", "one", ""]}


# Rows


ASSISTANT = make_assistant()


def answer(*outputs: tuple[str, FinishReason], rules: Rules) -> tuple[Any, Any]:
    completions = [
        (f"key{i}", Completion(text, finish, 7)) for i, (text, finish) in enumerate(outputs)
    ]
    return build_responses(make_prompts(len(outputs)), ASSISTANT, completions, rules)


def test_every_answer_has_a_row_and_every_dropped_one_a_ledger_row() -> None:
    rows, ledger = answer((GOOD, "eos"), ("", "eos"), ("Yes.", "stop"), rules="corrected")
    assert [row["prompt_id"] for row in rows] == ["p0", "p1", "p2"]
    assert [row["text"] for row in rows] == [GOOD, "", "Yes."]
    assert [row["verdict"] for row in rows] == ["ok", "rule_12_empty", "rule_12_short"]
    assert [row["row_id"] for row in ledger] == [row["response_id"] for row in rows[1:]]
    assert all(row["detail"] for row in ledger)
    assert Responses().validate(rows)
    assert Ledger().validate(ledger)


LOOP = "You can do it with care. " * 6


@pytest.mark.parametrize(
    ("rules", "limit", "verdict"),
    [
        ("corrected", None, "ok"),
        ("corrected", 0.2, "rule_12_repeats"),
        ("corrected", 0.9, "ok"),
        # The paper's rules know no such thing.
        ("original", 0.2, "ok"),
    ],
)
def test_an_answer_that_repeats_itself_is_dropped_by_option(
    rules: Rules, limit: float | None, verdict: str
) -> None:
    completions = [("k0", Completion(GOOD, "eos", 7)), ("k1", Completion(LOOP, "eos", 7))]
    rows, ledger = build_responses(make_prompts(2), ASSISTANT, completions, rules, limit)
    assert [row["verdict"] for row in rows] == ["ok", verdict]
    # Of 39 runs of words and full stops, 7 are unlike.
    dropped = [("ok", "rule_12_repeats")] if limit == 0.2 else []
    assert [(row["original"], row["corrected"]) for row in ledger] == dropped
    if verdict != "ok":
        assert ledger[0]["detail"] == "82% of its runs of 4 words stood before"


@pytest.mark.parametrize("rules", ["original", "corrected"])
def test_what_no_model_answered_is_no_empty_answer(rules: Rules) -> None:
    rows, ledger = answer((GOOD, "eos"), ("", "refused"), ("", "withheld"), rules=rules)
    assert [row["verdict"] for row in rows] == ["ok", "server_refused", "server_withheld"]
    assert [(row["original"], row["corrected"]) for row in ledger] == [
        ("server_refused", "server_refused"),
        ("server_withheld", "server_withheld"),
    ]
    assert ledger[0]["detail"] == "a server refused the request; the log has what it said"
    assert Responses().validate(rows)
    assert Ledger().validate(ledger)


@pytest.mark.parametrize(
    ("rules", "verdict", "text"),
    [
        ("original", "rule_12_unfinished", GOOD + " And the"),
        ("corrected", "ok", GOOD),
    ],
)
def test_ledger_has_both_verdicts_on_an_answer_cut_off_by_the_token_limit(
    rules: Rules, verdict: str, text: str
) -> None:
    rows, ledger = answer((GOOD + " And the", "length"), rules=rules)
    assert rows[0]["text"] == text
    assert rows[0]["verdict"] == verdict
    assert ledger == [
        {
            "row_id": rows[0]["response_id"],
            "rule": verdict,
            "detail": "ends in 'ain. And the'",
            "original": "rule_12_unfinished",
            "corrected": "ok",
            "parent_ids": [],
        }
    ]


@pytest.mark.parametrize("rules", BOTH)
def test_each_rule_set_has_its_own_usable_answers(rules: Rules) -> None:
    rows, ledger = answer(
        (GOOD, "eos"), ("Wellness. " + GOOD, "eos"), ("Well. " + GOOD, "eos"), rules=rules
    )
    ids = [row["response_id"] for row in rows]
    assert usable_ids(rows, ledger, "original") == {ids[0]}
    assert usable_ids(rows, ledger, "corrected") == {ids[0], ids[1]}


def test_answers_without_a_completion_are_an_error() -> None:
    with pytest.raises(ValueError, match="zip"):
        build_responses(make_prompts(2), ASSISTANT, [("k", Completion(GOOD, "eos", 7))], "original")
