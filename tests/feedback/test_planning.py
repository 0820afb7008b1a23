"""What stops a run before anything is generated."""

from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import ValidationError

from almost_kedro.errors import UserError
from almost_kedro.feedback.planning import (
    check_answer_context,
    check_request_context,
    check_rubric,
    check_seeds,
    plan_assistants,
)
from almost_kedro.feedback.seeds import SeedFile
from almost_kedro.options.feedback import (
    ComparisonOptions,
    PromptGenerationOptions,
    ResponseGenerationOptions,
)
from almost_kedro.options.rules import Rules
from almost_kedro.rows.feedback import Assistant, Assistants

FILE = "Be kind.\n\n-----\n\nHuman: A?\n\nAssistant: B.\n\n-----\n\nHuman: C?\n\nAssistant: D.\n"
SEEDS = SeedFile("Write.", ("a", "a b c", "a b c d e"))
PROMPTS = PromptGenerationOptions(model="m", n_prompts=1, shots=2)
BOTH: list[Rules] = ["original", "corrected"]


def describe(shots: int = 1, name: str | None = "HHH", **changes: Any) -> dict[str, Any]:
    return {"model": "m", "demonstrations": name, "shots": shots} | changes


def plan(
    *assistants: dict[str, Any], rules: Rules = "corrected", files: Any = None
) -> list[Assistant]:
    options = {"assistants": list(assistants), "max_new_tokens": 384}
    files = {"HHH": FILE, "Faithful": FILE} if files is None else files
    return plan_assistants(files, ResponseGenerationOptions.model_validate(options), rules)


# Assistants (rules 8, 10 and 13)


def test_assistant_has_its_name_prefix_and_options() -> None:
    assistants = plan(describe(model="org/Llama-7B"))
    assert assistants == [
        {
            "name": "llama-7b-HHH-1shot",
            "model": "org/Llama-7B",
            "demonstrations": "HHH",
            "shots": 1,
            "max_new_tokens": 384,
            "prefix": "Be kind.\n\n-----\n\nHuman: A?\n\nAssistant: B.\n\n-----",
            "off_topic": False,
        }
    ]
    rows: Any = assistants
    assert Assistants().validate(rows)


def test_own_token_limit_goes_before_the_common_one() -> None:
    assistants = plan(describe(2, "Faithful", max_new_tokens=768), describe())
    assert [assistant["max_new_tokens"] for assistant in assistants] == [768, 384]


@pytest.mark.parametrize(("rules", "shown"), [("original", 2), ("corrected", 0)])
def test_no_shots_show_all_demonstrations_in_original_and_none_in_corrected(
    rules: Rules, shown: int
) -> None:
    assert plan(describe(0), rules=rules)[0]["prefix"].count("Human:") == shown


@pytest.mark.parametrize("rules", BOTH)
def test_a_bare_assistant_gets_the_question_alone(rules: Rules) -> None:
    [assistant] = plan(describe(0, None), rules=rules, files={})
    assert (assistant["name"], assistant["prefix"]) == ("m-bare", "")
    assert (assistant["demonstrations"], assistant["shots"]) == ("", 0)
    rows: Any = [assistant]
    assert Assistants().validate(rows)


def test_shots_of_no_demonstrations_are_refused() -> None:
    with pytest.raises(ValidationError, match="2 shots, but no demonstrations; name them, or"):
        plan(describe(2, None))


def test_only_the_files_that_are_wanted_are_loaded() -> None:
    def fail() -> str:
        raise AssertionError

    assert plan(describe(), files={"HHH": lambda: FILE, "User": fail})[0]["shots"] == 1


def test_assistant_that_is_described_twice_is_refused() -> None:
    with pytest.raises(UserError, match="assistants: m-HHH-1shot is described twice; keep one"):
        plan(describe(), describe(2), describe(max_new_tokens=9))


def test_an_off_topic_assistant_is_its_source_by_another_name() -> None:
    moved, source = plan(describe(off_topic=True), describe(max_new_tokens=9))
    assert moved == {**source, "name": "m-HHH-1shot-off-topic", "off_topic": True}
    assert source["max_new_tokens"] == 9


@pytest.mark.parametrize("other", [describe(2), describe(name="Faithful"), describe(model="o/m")])
def test_an_off_topic_assistant_needs_the_one_whose_answers_it_takes(
    other: dict[str, Any],
) -> None:
    with pytest.raises(UserError) as error:
        plan(other, describe(off_topic=True))
    assert str(error.value) == (
        "option response_generation.assistants: m-HHH-1shot-off-topic exchanges the answers of "
        "m-HHH-1shot, which is not in the list; add it, or leave m-HHH-1shot-off-topic out"
    )


def test_an_off_topic_assistant_is_described_once_and_never_the_best() -> None:
    with pytest.raises(UserError, match="m-HHH-1shot-off-topic is described twice; keep one"):
        plan(describe(), describe(off_topic=True), describe(off_topic=True))
    assistants = plan(describe(), describe(off_topic=True))
    with pytest.raises(UserError, match="'m-HHH-1shot-off-topic' is off topic and can't be the be"):
        check_rubric(assistants, ComparisonOptions(rubric=["m-HHH-1shot-off-topic", "m-HHH-1shot"]))


@pytest.mark.parametrize(
    ("files", "there"), [({"User": FILE, "HHH": FILE}, "HHH, User"), ({}, "none")]
)
def test_missing_demonstration_file_is_named_with_those_that_exist(
    files: Mapping[str, str], there: str
) -> None:
    with pytest.raises(UserError) as error:
        plan(describe(name="Hhh"), files=files)
    assert str(error.value) == (
        "option response_generation.assistants: demonstrations 'Hhh' need the file "
        f"Hhh_prompt.txt in assets_root; there are {there}"
    )


@pytest.mark.parametrize("rules", BOTH)
def test_more_shots_than_demonstrations_are_refused(rules: Rules) -> None:
    with pytest.raises(UserError, match="found 2, but an assistant asks for 3 shots"):
        plan(describe(3), rules=rules)


# Seeds and rubric


def test_as_many_seeds_as_shots_are_enough() -> None:
    check_seeds(SEEDS, PromptGenerationOptions(model="m", n_prompts=1, shots=3))


def test_fewer_seeds_than_shots_are_refused() -> None:
    with pytest.raises(UserError) as error:
        check_seeds(SEEDS, PromptGenerationOptions(model="m", n_prompts=1, shots=4))
    assert str(error.value) == (
        "seed_prompts: found 3 seed prompts, but a request shows prompt_generation.shots = 4; "
        "add seeds or lower it"
    )


def test_rubric_names_planned_assistants() -> None:
    assistants = plan(describe(1), describe(2))
    check_rubric(assistants, ComparisonOptions(rubric=["m-HHH-2shot", "m-HHH-1shot"]))
    with pytest.raises(UserError, match="unknown assistant 'm-HHH-3shot'"):
        check_rubric(assistants, ComparisonOptions(rubric=["m-HHH-3shot", "m-HHH-1shot"]))


# Context, with words for tokens


def count_words(model: str, text: str) -> int:
    return len(text.split())


def test_request_of_the_longest_prompts_may_fill_the_context() -> None:
    """Words: 2 of the frame, 2 shots of 64 and a label, 1 for bos, 64 new: 197."""
    check_request_context(SEEDS, PROMPTS, 197, count_words)
    with pytest.raises(UserError) as error:
        check_request_context(SEEDS, PROMPTS, 196, count_words)
    assert str(error.value) == (
        "prompt_generation: 2 shots and the prompt take up to 132 tokens, 64 more are to be "
        "generated, but model 'm' has a context of 196; use fewer shots, shorter seeds or a lower "
        "max_new_tokens"
    )


def test_seeds_longer_than_a_generated_prompt_count_as_they_are() -> None:
    seeds = SeedFile("Write.", ("w " * 100, "w " * 200))
    with pytest.raises(UserError, match="take up to 304 tokens"):
        check_request_context(seeds, PROMPTS, 300, count_words)


@pytest.mark.parametrize("rules", BOTH)
def test_answer_to_the_longest_prompt_may_fill_the_context(rules: Rules) -> None:
    """Words: 10 of prefix and frame, 64 of the prompt, 1 for bos, 384 new: 459."""
    (assistant,) = plan(describe(), rules=rules)
    check_answer_context(assistant, 64, 459, count_words)
    with pytest.raises(UserError, match=r"assistant m-HHH-1shot: 1 shots .* up to 74 tokens, 384"):
        check_answer_context(assistant, 64, 458, count_words)


def test_unknown_context_or_token_count_passes() -> None:
    (assistant,) = plan(describe())
    check_answer_context(assistant, 64, None, count_words)
    check_answer_context(assistant, 64, 1, lambda model, text: None)
    check_request_context(SEEDS, PROMPTS, None, count_words)
    check_request_context(SEEDS, PROMPTS, 1, lambda model, text: None)
