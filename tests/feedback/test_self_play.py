"""Rule 24: dialogues, the simulated user's questions, candidates, the best one, demonstrations."""

from copy import deepcopy
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from almost_kedro.contract import Completion, FinishReason
from almost_kedro.feedback.responses import read_demonstrations
from almost_kedro.feedback.self_play import (
    OpenTurn,
    build_dialogue,
    build_user_request,
    check_question,
    extract_user_question,
    keep_best,
    list_turns,
    make_candidates,
    make_demonstrations,
)
from almost_kedro.options.rules import Rules
from almost_kedro.rows.feedback import Ledger
from almost_kedro.rows.training import Candidate, Candidates, Demonstrations

BOTH: list[Rules] = ["original", "corrected"]
GOOD = "Water boils at a lower temperature on a high mountain."
ALSO = "The air is thinner up there, and so the pressure is lower."
THIRD = "At the top of Everest, water boils at about 68 degrees."


def ask(text: str, finish_reason: FinishReason = "stop") -> Completion:
    return Completion(text, finish_reason, 9)


# Dialogues


def test_first_turn_is_the_question_of_rule_9() -> None:
    assert build_dialogue([], "A?", "corrected") == "\n\nHuman: A?\n\nAssistant:"
    assert build_dialogue([], "A?", "original") == "\n\nHuman: A?\n\nAssistant: "


def test_finished_turns_read_alike_in_both_rule_sets() -> None:
    before = "\n\nHuman: A?\n\nAssistant: B.\n\nHuman: C?\n\nAssistant: D."
    turns = [("A?", "B."), ("C?", "D.")]
    last = "\n\nHuman: E?\n\nAssistant:"
    assert build_dialogue(turns, "E?", "corrected") == before + last
    assert build_dialogue(turns, "E?", "original") == before + last + " "


def test_user_is_asked_after_the_last_answer() -> None:
    one = "\n\nHuman: A?\n\nAssistant: B.\n\nHuman:"
    assert build_user_request([("A?", "B.")]) == one
    assert build_user_request([("A?", "B."), ("C?", "D.")]) == (
        f"{one} C?\n\nAssistant: D.\n\nHuman:"
    )


@pytest.mark.parametrize("rules", BOTH)
def test_user_request_reads_like_the_demonstrations_of_the_file(
    project: Path, rules: Rules
) -> None:
    text = (project / "assets/User_prompt.txt").read_text()
    _, demonstrations = read_demonstrations(text, "User")
    for demonstration in demonstrations:
        _, *turns = demonstration.split("\n\nHuman: ")
        (question, answer), (follow_up, _) = (turn.split("\n\nAssistant: ") for turn in turns[:2])
        assert demonstration.startswith(build_user_request([(question, answer)]) + " ")
        dialogue = build_dialogue([(question, answer)], follow_up, rules)
        assert demonstration.startswith(dialogue)


# What the user asks


@pytest.mark.parametrize(
    "output",
    [
        " What about snow?",
        " What about snow?\n\nAssistant: It melts.",
        " What about snow? Assistant: It melts.",
        "\n\nWhat about snow?\nAnd rain?",
        " What about snow?\n\n-----\n\nHuman: Why?",
        " What about snow? Human: Why?",
    ],
)
@pytest.mark.parametrize("finish_reason", ["eos", "stop", "length"])
def test_question_is_the_first_line_before_any_label(
    output: str, finish_reason: FinishReason
) -> None:
    assert extract_user_question(output, finish_reason) == "What about snow?"


@pytest.mark.parametrize(
    "output", ["", " \n", "\n\nAssistant: Yes.", "Human: What?", "\n\n-----\nWhat?"]
)
def test_output_without_a_question_gives_none(output: str) -> None:
    assert extract_user_question(output, "stop") == ""


def test_question_that_the_token_limit_ended_loses_its_unfinished_last_sentence() -> None:
    output = " I see. What about snow? I have heard that it"
    assert extract_user_question(output, "length") == "I see. What about snow?"
    assert extract_user_question(output, "eos") == output.strip()
    later = " what about snow. or rain\n\nAssistant: It mel"
    assert extract_user_question(later, "length") == "what about snow. or rain"


@pytest.mark.parametrize(
    ("completion", "rule"),
    [
        (ask(" What about snow?"), "ok"),
        (ask(" What about snow?", "length"), "ok"),
        (ask(" tell me about snow"), "ok"),
        (ask(" tell me about snow\n\nAssistant: It", "length"), "ok"),
        (ask(" " + "a" * 249 + "?"), "ok"),
        (ask(""), "rule_24_no_question"),
        (ask(" ..."), "rule_24_no_question"),
        (ask("", "refused"), "server_refused"),
        (ask("", "withheld"), "server_withheld"),
        (ask(" tell me about snow and", "length"), "rule_24_unfinished_question"),
        (ask(" why  DOES it boil?"), "rule_24_repeated_question"),
        (ask(" And why?"), "rule_24_repeated_question"),
        (ask(" " + "a" * 250 + "?"), "rule_24_long_question"),
    ],
)
def test_question_that_is_no_use_ends_the_dialogue(completion: Completion, rule: str) -> None:
    question = extract_user_question(completion.text, completion.finish_reason)
    earlier = ["Why does it boil?", "And why?"]
    assert check_question(question, earlier, completion).rule == rule


@given(st.text(), st.sampled_from(["eos", "stop", "length"]))
def test_question_is_one_line_of_the_output_without_labels(
    output: str, finish_reason: FinishReason
) -> None:
    question = extract_user_question(output, finish_reason)
    assert question in output
    assert question == question.strip()
    assert not any(mark in question for mark in ("\n", "Assistant:", "Human:"))


# Candidates

FIRST = OpenTurn("p", "", "Why does it boil?", 1)


def complete(*texts: str) -> list[tuple[str, Completion]]:
    return [(f"key{i}", Completion(text, "eos", 9)) for i, text in enumerate(texts)]


def test_candidates_are_turn_by_turn_and_sample_by_sample() -> None:
    other = OpenTurn("q", "", "Is snow white?", 1)
    rows, ledger = make_candidates(
        [FIRST, other],
        "a",
        complete(f" {GOOD}\n\nHuman: Oh?", ALSO, THIRD, "No."),
        2,
        "corrected",
    )
    Candidates().validate(rows)
    assert [(row["prompt_id"], row["sample"], row["text"]) for row in rows] == [
        ("p", 0, GOOD),
        ("p", 1, ALSO),
        ("q", 0, THIRD),
        ("q", 1, "No."),
    ]
    assert [row["verdict"] for row in rows] == ["ok", "ok", "ok", "rule_12_short"]
    assert rows[3]["question"] == "Is snow white?"
    assert not any(row["kept"] for row in rows)
    assert {row["reward"] for row in rows} == {row["held_out_reward"] for row in rows} == {None}
    Ledger().validate(ledger)
    assert [(row["row_id"], row["rule"]) for row in ledger] == [
        (rows[3]["candidate_id"], "rule_12_short")
    ]


def test_a_candidate_that_repeats_itself_is_dropped_by_option() -> None:
    answers = complete(GOOD, "You can do it with care. " * 6)
    rows, _ = make_candidates([FIRST], "a", answers, 2, "corrected", 0.2)
    assert [row["verdict"] for row in rows] == ["ok", "rule_12_repeats"]


def test_samples_of_one_request_have_their_own_ids() -> None:
    rows, _ = make_candidates([FIRST], "a", [complete(GOOD)[0]] * 2, 2, "corrected")
    assert len({row["candidate_id"] for row in rows}) == 2


def test_ledger_has_the_verdicts_of_both_rule_sets() -> None:
    listing = "Bring these to the mountain with you today:\n- water\n- bread"
    for rules, verdict in (("original", "rule_12_unfinished"), ("corrected", "ok")):
        rows, ledger = make_candidates([FIRST], "a", complete(listing), 1, rules)
        assert rows[0]["verdict"] == verdict
        assert (ledger[0]["original"], ledger[0]["corrected"]) == ("rule_12_unfinished", "ok")
        assert ledger[0]["rule"] == verdict


def test_answer_that_the_sets_cut_differently_is_entered() -> None:
    cut = [("key", Completion(f"{GOOD} And so", "length", 9))]
    rows, ledger = make_candidates([FIRST], "a", cut, 1, "corrected")
    assert rows[0]["text"] == GOOD
    assert (ledger[0]["original"], ledger[0]["corrected"]) == ("rule_12_unfinished", "ok")


def test_a_missing_completion_is_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        make_candidates([FIRST], "a", complete(GOOD), 2, "corrected")


# The best one


def score(rows: list[Candidate], *rewards: float) -> dict[str, float]:
    return {row["candidate_id"]: reward for row, reward in zip(rows, rewards, strict=True)}


def test_usable_candidate_with_the_highest_reward_is_kept() -> None:
    rows, _ = make_candidates([FIRST], "a", complete(GOOD, ALSO, THIRD, "No."), 4, "corrected")
    before = deepcopy(rows)
    kept = keep_best(rows, score(rows, -2.0, 1.5, 0.0, 9.0))
    assert [row["kept"] for row in kept] == [False, True, False, False]
    assert [row["reward"] for row in kept] == [-2.0, 1.5, 0.0, None]
    assert rows == before
    Candidates().validate(kept)


def test_of_equal_rewards_the_first_sample_is_kept() -> None:
    rows, _ = make_candidates([FIRST], "a", complete(GOOD, ALSO, ALSO), 3, "corrected")
    rewards = score(rows, 0.0, 1.0, 1.0)
    assert [row["kept"] for row in keep_best(rows, rewards)] == [False, True, False]
    assert [row["kept"] for row in keep_best(rows[::-1], rewards)] == [False, True, False]


def test_turn_without_a_usable_candidate_keeps_none_and_needs_no_rewards() -> None:
    other = OpenTurn("q", "", "Is snow white?", 1)
    rows, _ = make_candidates([FIRST, other], "a", complete("", "No.", GOOD, ""), 2, "corrected")
    kept = keep_best(rows, {rows[2]["candidate_id"]: 0.5})
    assert [row["kept"] for row in kept] == [False, False, True, False]


def test_each_turn_of_a_dialogue_keeps_its_own_best() -> None:
    second = OpenTurn("p", "x", "And why?", 2)
    rows, _ = make_candidates([FIRST, second], "a", complete(GOOD, ALSO, GOOD, ALSO), 2, "original")
    kept = keep_best(rows, score(rows, 1.0, 2.0, 4.0, 3.0))
    assert [row["kept"] for row in kept] == [False, True, True, False]


# Demonstrations


def play() -> list[Candidate]:
    """Two turns of two candidates; the second one is kept, then the first."""
    first, _ = make_candidates([FIRST], "a", complete(GOOD, ALSO), 2, "corrected")
    first = keep_best(first, score(first, 0.0, 1.0))
    turn = OpenTurn("p", first[1]["candidate_id"], "Where?", 2)
    second, _ = make_candidates([turn], "a", complete(THIRD, GOOD), 2, "corrected")
    return first + keep_best(second, score(second, 1.0, 0.0))


def test_turns_are_walked_back_to_the_prompt() -> None:
    rows = play()
    by_id = {row["candidate_id"]: row for row in rows}
    assert list_turns(rows[0], by_id) == [("Why does it boil?", GOOD)]
    assert list_turns(rows[3], by_id) == [("Why does it boil?", ALSO), ("Where?", GOOD)]


@pytest.mark.parametrize(("rules", "end"), [("corrected", ""), ("original", " ")])
def test_each_kept_answer_is_a_demonstration_after_its_dialogue(rules: Rules, end: str) -> None:
    rows = play()
    demonstrations = make_demonstrations(rows, rules)
    Demonstrations().validate(demonstrations)
    opening = "\n\nHuman: Why does it boil?\n\nAssistant:"
    assert [(d["turn"], d["dialogue"], d["answer"]) for d in demonstrations] == [
        (1, opening + end, ALSO),
        (2, f"{opening} {ALSO}\n\nHuman: Where?\n\nAssistant:{end}", THIRD),
    ]
    assert [d["candidate_id"] for d in demonstrations] == [
        rows[1]["candidate_id"],
        rows[2]["candidate_id"],
    ]
    assert {d["prompt_id"] for d in demonstrations} == {"p"}
