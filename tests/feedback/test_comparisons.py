"""Rules 14 to 18 and the account of every pair; answers are letters repeated to a length."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_rows import make_assistant, make_ledger_row, make_prompt, make_response

from almost_kedro.contract import row_id
from almost_kedro.errors import UserError
from almost_kedro.feedback.comparisons import (
    build_comparison,
    find_factors,
    make_comparisons,
    rank_answers,
    rank_rubric,
    summarise_comparisons,
    walk_pairs,
)
from almost_kedro.options.feedback import ComparisonOptions
from almost_kedro.options.rules import Rules
from almost_kedro.rows.feedback import (
    Assistant,
    Comparison,
    Comparisons,
    Ledger,
    LedgerRow,
    Response,
)

Rubric = list[Any]
BOTH: list[Rules] = ["original", "corrected"]
ABCD: Rubric = ["A", "B", "C", "D"]
UNUSABLE, NOTHING = "rule_15_unusable_answer", "rule_15_nothing_to_compare"
UNRANKED = "rule_14_not_in_rubric"

ASSISTANTS = [
    make_assistant("A", model="large", demonstrations="Faithful", shots=3),
    make_assistant("B", model="small", demonstrations="Faithful", shots=3),
    make_assistant("C", model="small", demonstrations="HHH", shots=3),
    make_assistant("D", model="small", demonstrations="HHH", shots=1),
]
OFF_TOPIC: Assistant = {**ASSISTANTS[0], "name": "A-off", "off_topic": True}


def make_responses(prompt: str = "p1", **lengths: int) -> list[Response]:
    return [make_response(prompt, name, name.lower() * length) for name, length in lengths.items()]


def drop_by_original(*response_ids: str) -> list[LedgerRow]:
    return [make_ledger_row(id_, "rule_12_well", corrected="ok") for id_ in response_ids]


def make_options(rubric: Rubric = ABCD, **changes: Any) -> ComparisonOptions:
    return ComparisonOptions.model_validate({"rubric": rubric} | changes)


def walk(responses: Iterable[Response], rules: Rules, **changes: Any) -> list[tuple[str, str]]:
    options = make_options(**changes)
    answers = list(responses)
    ranked = rank_answers(
        answers, rank_rubric(options.rubric, ASSISTANTS), {row["response_id"] for row in answers}
    )
    return [
        (better["assistant"] + worse["assistant"], verdict.rule)
        for better, worse, verdict in walk_pairs(ranked, options, rules)
    ]


def compare(
    responses: Sequence[Response], ledger: Sequence[LedgerRow], rules: Rules, **changes: Any
) -> tuple[list[Comparison], list[LedgerRow]]:
    names = dict.fromkeys(row["prompt_id"] for row in responses)
    prompts = [make_prompt(name) for name in names]
    made: list[Any] = [{**row, "rule": row[rules]} for row in ledger]
    return make_comparisons(prompts, responses, made, ASSISTANTS, make_options(**changes), rules)


def name_pairs(comparisons: Iterable[Comparison]) -> list[str]:
    return [
        f"{c['prompt_id']} {c['chosen_assistant']}{c['rejected_assistant']}" for c in comparisons
    ]


def list_columns(ledger: Iterable[LedgerRow]) -> Counter[tuple[str, str, str]]:
    return Counter((row["rule"], row["original"], row["corrected"]) for row in ledger)


# Rule 14


@pytest.mark.parametrize(
    ("rubric", "ranks"),
    [
        (["B", "A"], {"B": 0, "A": 1}),
        (["A", ["B", "C"], "D"], {"A": 0, "B": 1, "C": 1, "D": 2}),
        ([["C", "D"], ["A"]], {"C": 0, "D": 0, "A": 1}),
    ],
)
def test_rubric_ranks_best_first_and_a_nested_list_ties(
    rubric: Rubric, ranks: dict[str, int]
) -> None:
    assert rank_rubric(rubric, ASSISTANTS) == ranks


@pytest.mark.parametrize(
    ("rubric", "message"),
    [
        (["A", "X"], "unknown assistant 'X'; response_generation.assistants makes A, B, C, D"),
        (["A", ["B", "X"]], "unknown assistant 'X'; response_generation.assistants makes A, B"),
        (["A", "B", "A"], "'A' is named twice; keep one"),
        (["A", ["B", "B"]], "'B' is named twice; keep one"),
        (["A"], "found 1 level, and nothing can be compared; name at least two, best first"),
        ([["A", "B"]], "found 1 level, and nothing can be compared"),
        ([], "found 0 level, and nothing can be compared"),
        ([["A", "B"], []], "and nothing can be compared"),
    ],
)
def test_rubric_that_cannot_rank_is_refused(rubric: Rubric, message: str) -> None:
    with pytest.raises(UserError) as error:
        rank_rubric(rubric, ASSISTANTS)
    assert str(error.value).startswith("option comparisons.rubric: ")
    assert message in str(error.value)


@pytest.mark.parametrize("rubric", [["A-off", "A"], [["A", "A-off"], "B"], [[], "A-off", "B"]])
def test_an_off_topic_assistant_is_never_the_best(rubric: Rubric) -> None:
    with pytest.raises(UserError) as error:
        rank_rubric(rubric, [*ASSISTANTS, OFF_TOPIC])
    assert str(error.value) == (
        "option comparisons.rubric: 'A-off' is off topic and can't be the best; put an assistant "
        "that answers the prompt before it"
    )


def test_an_off_topic_assistant_may_be_better_than_others() -> None:
    ranks = rank_rubric(["A", "A-off", "D"], [*ASSISTANTS, OFF_TOPIC])
    assert ranks == {"A": 0, "A-off": 1, "D": 2}


# Rule 15


def test_unusable_answers_drop_out_and_the_others_are_sorted_by_rank() -> None:
    answers = make_responses(D=9, C=9, B=9, A=9)
    ranks = {"A": 0, "B": 1, "C": 2}
    ranked = rank_answers(answers, ranks, {"p1-A", "p1-C", "p1-D"})
    assert [(rank, row["assistant"]) for rank, row in ranked] == [(0, "A"), (2, "C")]


@given(answers=st.permutations(make_responses(A=9, B=9, C=9, D=9)))
@settings(deadline=None, max_examples=24)
def test_answers_of_one_rank_keep_their_order(answers: list[Response]) -> None:
    ids = {row["response_id"] for row in answers}
    ranked = rank_answers(answers, {"A": 0, "B": 1, "C": 1, "D": 1}, ids)
    tied = [row["assistant"] for row in answers if row["assistant"] != "A"]
    assert [row["assistant"] for _, row in ranked] == ["A", *tied]


@pytest.mark.parametrize("rules", BOTH)
def test_prompt_with_one_usable_answer_gives_no_pair(rules: Rules) -> None:
    bad = [make_ledger_row("p1-B", "rule_12_short")]
    comparisons, ledger = compare(make_responses(A=90, B=90), bad, rules)
    assert comparisons == []
    assert ledger == [
        {
            "row_id": "p1",
            "rule": NOTHING,
            "detail": "1 usable answers on fewer than two ranks",
            "original": NOTHING,
            "corrected": NOTHING,
            "parent_ids": [],
        }
    ]


@pytest.mark.parametrize("rules", BOTH)
def test_prompt_with_usable_answers_of_one_rank_only_gives_no_pair(rules: Rules) -> None:
    comparisons, ledger = compare(make_responses(B=90, C=90), [], rules, rubric=["A", ["B", "C"]])
    assert comparisons == []
    assert list_columns(ledger) == {(NOTHING, NOTHING, NOTHING): 1}


# Rule 16


@pytest.mark.parametrize("rules", BOTH)
def test_nearest_chooses_each_assistant_at_most_once(rules: Rules) -> None:
    once = "rule_16_chosen_once"
    pairs = walk(make_responses(A=9, B=9, C=9), rules, pairs="nearest", length_control="none")
    assert pairs == [("AB", "ok"), ("AC", once), ("BC", "ok")]


@pytest.mark.parametrize("rules", BOTH)
def test_nearest_chooses_each_rank_at_most_once_and_equal_ranks_never_meet(rules: Rules) -> None:
    once = "rule_16_chosen_once"
    pairs = walk(
        make_responses(A=9, B=9, C=9, D=9),
        rules,
        rubric=["A", ["B", "C"], "D"],
        pairs="nearest",
        length_control="none",
    )
    assert pairs == [("AB", "ok"), ("AC", once), ("AD", once), ("BD", "ok"), ("CD", once)]


def test_a_over_c_is_lost_by_nearest_and_kept_by_all() -> None:
    responses = make_responses(A=9, B=9, C=9)
    nearest = walk(responses, "original", pairs="nearest", length_control="none")
    assert [pair for pair, rule in nearest if rule == "ok"] == ["AB", "BC"]
    every = walk(responses, "corrected", pairs="all", length_control="none")
    assert [pair for pair, rule in every if rule == "ok"] == ["AB", "AC", "BC"]


def test_all_pairs_of_a_tied_rubric_but_the_tied_ones_are_walked() -> None:
    responses = make_responses(A=9, B=9, C=9, D=9)
    pairs = walk(responses, "corrected", rubric=["A", ["B", "C"], "D"], length_control="none")
    assert [pair for pair, _ in pairs] == ["AB", "AC", "AD", "BD", "CD"]


def test_rule_sets_stand_for_their_own_pairs_and_length_control() -> None:
    options = make_options(pairs="all", length_control="none", length_tolerance=0.3)
    original, corrected = options.as_run_by("original"), options.as_run_by("corrected")
    assert (original.pairs, original.length_control) == ("nearest", "heuristic")
    assert (corrected.pairs, corrected.length_control) == ("all", "matched")
    assert original.length_tolerance == corrected.length_tolerance == 0.3


# Rule 17 in the walk


@pytest.mark.parametrize("rules", BOTH)
def test_after_a_heuristic_skip_the_next_lower_answer_is_tried(rules: Rules) -> None:
    # Lengths 60, 200, 50: mean 103.3, population std 68.5, so the bound is 69.1.
    pairs = walk(
        make_responses(A=60, B=200, C=50), rules, pairs="nearest", length_control="heuristic"
    )
    assert pairs == [("AB", "rule_17_heuristic"), ("AC", "ok"), ("BC", "ok")]


@pytest.mark.parametrize(
    ("rules", "rule"), [("original", "rule_17_heuristic"), ("corrected", "ok")]
)
def test_shorter_chosen_one_of_two_usable_answers_is_dropped_by_original_only(
    rules: Rules, rule: str
) -> None:
    responses = make_responses(A=99, B=100)
    assert walk(responses, rules, pairs="nearest", length_control="heuristic") == [("AB", rule)]


# Rule 18


def test_comparison_says_which_answer_of_whom_was_chosen() -> None:
    by_name = {assistant["name"]: assistant for assistant in ASSISTANTS}
    chosen, rejected = make_responses(A=3, D=2)
    row: Any = build_comparison(make_prompt("p1", "Why p1?"), chosen, rejected, by_name)
    assert len(row.pop("comparison_id")) == 16
    assert row == {
        "prompt_id": "p1",
        "prompt": "Why p1?",
        "chosen": "aaa",
        "rejected": "dd",
        "chosen_id": "p1-A",
        "rejected_id": "p1-D",
        "chosen_assistant": "A",
        "rejected_assistant": "D",
        "factors": ["size", "shots", "demonstrations"],
    }


@pytest.mark.parametrize(
    ("better", "worse", "factors"),
    [
        (0, 1, ["size"]),
        (1, 2, ["demonstrations"]),
        (2, 3, ["shots"]),
        (0, 2, ["size", "demonstrations"]),
        (1, 1, []),
    ],
)
def test_factors_name_what_two_assistants_differ_in(
    better: int, worse: int, factors: list[str]
) -> None:
    assert find_factors(ASSISTANTS[better], ASSISTANTS[worse]) == factors


@pytest.mark.parametrize(
    ("demonstrations", "shots", "factors"),
    [("HHH", 1, ["shots"]), ("HHH", 0, ["demonstrations"]), ("", 0, [])],
)
def test_with_and_without_demonstrations_differ_in_shots(
    demonstrations: str, shots: int, factors: list[str]
) -> None:
    bare = make_assistant("m-bare", demonstrations="", shots=0)
    other = make_assistant("other", demonstrations=demonstrations, shots=shots)
    assert find_factors(other, bare) == find_factors(bare, other) == factors


@pytest.mark.parametrize(
    ("other", "factors"),
    [
        (0, ["topic"]),
        (2, ["size", "demonstrations", "topic"]),
        (3, ["size", "shots", "demonstrations", "topic"]),
    ],
)
def test_the_topic_is_a_factor_beside_all_others(other: int, factors: list[str]) -> None:
    assert find_factors(ASSISTANTS[other], OFF_TOPIC) == factors
    assert find_factors(OFF_TOPIC, ASSISTANTS[other]) == factors
    assert find_factors(OFF_TOPIC, OFF_TOPIC) == []


# The ledger

SIX = make_responses("p1", A=110, B=105, C=100) + make_responses("p2", A=100, B=105, C=110)


def test_original_keeps_three_pairs_and_its_ledger_tells_what_corrected_would_keep() -> None:
    # p2: mean 105, population std 4.1, so the bound is 103.
    comparisons, ledger = compare(SIX, [], "original", pairs="nearest", length_control="heuristic")
    assert name_pairs(comparisons) == ["p1 AB", "p1 BC", "p2 BC"]
    assert list_columns(ledger) == {
        ("rule_16_chosen_once", "rule_16_chosen_once", "ok"): 1,
        ("rule_17_heuristic", "rule_17_heuristic", "ok"): 2,
    }


def test_corrected_keeps_six_pairs_and_its_ledger_tells_what_original_would_drop() -> None:
    comparisons, ledger = compare(SIX, [], "corrected")
    assert name_pairs(comparisons) == ["p1 AB", "p1 AC", "p1 BC", "p2 AB", "p2 AC", "p2 BC"]
    assert list_columns(ledger) == {
        ("ok", "rule_16_chosen_once", "ok"): 1,
        ("ok", "rule_17_heuristic", "ok"): 2,
    }
    assert {row["row_id"] for row in ledger} <= {row["comparison_id"] for row in comparisons}


def test_kept_pair_of_one_length_is_in_the_ledger() -> None:
    comparisons, ledger = compare(
        make_responses(A=90, B=90), [], "original", pairs="nearest", length_control="heuristic"
    )
    assert name_pairs(comparisons) == ["p1 AB"]
    assert list_columns(ledger) == {("ok", "ok", "matched_tie"): 1}


def test_pair_of_an_answer_that_only_corrected_uses_is_in_the_ledger_of_original() -> None:
    bad = drop_by_original("p1-B", "p2-B")
    responses = make_responses("p1", A=95, B=90) + make_responses("p2", A=90, B=95)
    comparisons, ledger = compare(
        responses, bad, "original", pairs="nearest", length_control="heuristic"
    )
    assert comparisons == []
    assert list_columns(ledger) == {(UNUSABLE, UNUSABLE, "ok"): 2, (NOTHING, NOTHING, "ok"): 2}


def test_pair_of_an_answer_that_only_corrected_uses_is_in_the_ledger_of_corrected() -> None:
    bad = drop_by_original("p1-B", "p2-B")
    responses = make_responses("p1", A=95, B=90) + make_responses("p2", A=90, B=95)
    comparisons, ledger = compare(responses, bad, "corrected")
    assert name_pairs(comparisons) == ["p1 AB", "p2 AB"]
    assert list_columns(ledger) == {("ok", UNUSABLE, "ok"): 2, ("ok", NOTHING, "ok"): 2}


def test_only_a_dropped_pair_names_its_parents() -> None:
    """What is kept, and prompts and answers, are in datasets that name theirs."""
    bad = drop_by_original("p3-B", "p4-B")
    lone = make_responses("p3", A=95, B=90) + make_responses("p4", A=90, B=95)
    for rules, changes in (
        ("original", {"pairs": "nearest", "length_control": "heuristic"}),
        ("corrected", {}),
    ):
        comparisons, ledger = compare(SIX + lone, bad, rules, **changes)
        kept = {row["comparison_id"] for row in comparisons}
        prompts = {"p1", "p2", "p3", "p4"}
        for row in ledger:
            if row["row_id"] in kept | prompts:
                assert row["parent_ids"] == []
            else:
                prompt, chosen, rejected = row["parent_ids"]
                assert row["row_id"] == row_id("comparison", chosen, rejected)
                assert chosen.startswith(f"{prompt}-")
                assert rejected.startswith(f"{prompt}-")
        dropped = [row for row in ledger if row["parent_ids"]]
        assert len(dropped) == (5 if rules == "original" else 0)


def test_summary_counts_edges_factors_and_how_often_the_chosen_is_longer() -> None:
    comparisons, ledger = compare(SIX, [], "original", pairs="nearest", length_control="heuristic")
    assert summarise_comparisons(comparisons, ledger) == {
        "n_comparisons": 3,
        "n_candidates": 6,
        "n_dropped": 3,
        "chosen_longer": 0.6667,
        "edges": {"A-vs-B": {"n": 1, "chosen_longer": 1}, "B-vs-C": {"n": 2, "chosen_longer": 0.5}},
        "factors": {"demonstrations": 2, "size": 1},
    }


def test_summary_does_not_count_equal_lengths_as_longer() -> None:
    comparisons, ledger = compare(make_responses(A=9, B=9), [], "original", length_control="none")
    assert summarise_comparisons(comparisons, ledger)["chosen_longer"] == 0


def test_summary_of_nothing_has_no_share() -> None:
    assert summarise_comparisons([], []) == {
        "n_comparisons": 0,
        "n_candidates": 0,
        "n_dropped": 0,
        "chosen_longer": None,
        "edges": {},
        "factors": {},
    }


# Properties

RUBRICS: list[Rubric] = [ABCD, ["A", ["B", "C"], "D"], [["A", "B"], ["C", "D"]], ["D", "A"]]
VERDICTS = [("ok", "ok"), ("ok", "ok"), ("ok", "bad"), ("bad", "ok"), ("bad", "bad")]


@st.composite
def draw_answers(draw: st.DrawFn) -> tuple[list[Response], list[LedgerRow]]:
    """Answers of up to four assistants to up to five prompts, some BAD in one or both sets."""
    responses, ledger = [], []
    for prompt in range(draw(st.integers(1, 5))):
        for assistant in draw(st.permutations(ABCD))[: draw(st.integers(1, 4))]:
            length = draw(st.integers(1, 30) | st.integers(90, 110))
            responses += make_responses(f"p{prompt}", **{assistant: length})
            original, corrected = draw(st.sampled_from(VERDICTS))
            if "bad" in (original, corrected):
                id_ = responses[-1]["response_id"]
                ledger.append(make_ledger_row(id_, original, corrected=corrected))
    return responses, ledger


CHANGES = st.fixed_dictionaries(
    {
        "rubric": st.sampled_from(RUBRICS),
        "pairs": st.sampled_from(["nearest", "all"]),
        "length_control": st.sampled_from(["none", "heuristic", "matched"]),
        "length_tolerance": st.sampled_from([0.05, 0.18, 1.0]),
    }
)


def list_candidates(
    responses: Sequence[Response], ledger: Sequence[LedgerRow], rules: Rules, rubric: Rubric
) -> set[tuple[str, str]]:
    """All pairs of usable answers to one prompt whose assistants' ranks differ, better first."""
    rank = {name: i for i, level in enumerate(rubric) for name in level}
    bad = {row["row_id"] for row in ledger if row[rules] != "ok"}
    usable = [r for r in responses if r["response_id"] not in bad and r["assistant"] in rank]
    return {
        (a["response_id"], b["response_id"])
        for a in usable
        for b in usable
        if a["prompt_id"] == b["prompt_id"] and rank[a["assistant"]] < rank[b["assistant"]]
    }


@given(answers=draw_answers(), changes=CHANGES, rules=st.sampled_from(BOTH))
@settings(deadline=None, max_examples=250)
def test_every_candidate_pair_is_a_comparison_or_dropped_in_the_ledger(
    answers: tuple[list[Response], list[LedgerRow]], changes: dict[str, Any], rules: Rules
) -> None:
    responses, bad = answers
    comparisons, ledger = compare(responses, bad, rules, **changes)
    candidates = list_candidates(responses, bad, rules, changes["rubric"])
    kept = {(row["chosen_id"], row["rejected_id"]) for row in comparisons}
    dropped = [row for row in ledger if row["rule"] not in ("ok", UNUSABLE, NOTHING, UNRANKED)]
    assert len(kept) == len(comparisons)
    assert kept <= candidates
    assert len(comparisons) + len(dropped) == len(candidates)
    assert summarise_comparisons(comparisons, ledger)["n_candidates"] == len(candidates)
    ids = {row["comparison_id"] for row in comparisons}
    assert not ids & {row["row_id"] for row in dropped}
    data: Any = (comparisons, ledger)
    assert Comparisons().validate(data[0]) == comparisons
    assert Ledger().validate(data[1]) == ledger


@given(answers=draw_answers(), changes=CHANGES, rules=st.sampled_from(BOTH))
@settings(deadline=None, max_examples=150)
def test_every_prompt_has_a_candidate_pair_or_a_ledger_row(
    answers: tuple[list[Response], list[LedgerRow]], changes: dict[str, Any], rules: Rules
) -> None:
    responses, bad = answers
    _, ledger = compare(responses, bad, rules, **changes)
    candidates = list_candidates(responses, bad, rules, changes["rubric"])
    paired = {response_id.split("-")[0] for pair in candidates for response_id in pair}
    without = {row["row_id"] for row in ledger if row["rule"] == NOTHING}
    assert paired | without == {row["prompt_id"] for row in responses}
    assert not paired & without


@given(answers=draw_answers(), changes=CHANGES, rules=st.sampled_from(BOTH))
@settings(deadline=None, max_examples=150)
def test_every_ledger_row_is_a_drop_by_one_of_the_rule_sets(
    answers: tuple[list[Response], list[LedgerRow]], changes: dict[str, Any], rules: Rules
) -> None:
    _, ledger = compare(*answers, rules, **changes)
    for row in ledger:
        assert row["rule"] == row[rules]
        assert (row["original"], row["corrected"]) != ("ok", "ok")
        assert row["detail"]


@given(answers=draw_answers(), changes=CHANGES, rules=st.sampled_from(BOTH))
@settings(deadline=None, max_examples=150)
def test_texts_of_comparisons_are_those_of_the_responses(
    answers: tuple[list[Response], list[LedgerRow]], changes: dict[str, Any], rules: Rules
) -> None:
    texts = {row["response_id"]: row["text"] for row in answers[0]}
    for row in compare(*answers, rules, **changes)[0]:
        assert row["chosen"] == texts[row["chosen_id"]]
        assert row["rejected"] == texts[row["rejected_id"]]


@given(answers=draw_answers(), changes=CHANGES, rules=st.sampled_from(BOTH))
@settings(deadline=None, max_examples=150)
def test_matched_pairs_are_alike_in_length_and_longer_in_half_of_every_edge(
    answers: tuple[list[Response], list[LedgerRow]], changes: dict[str, Any], rules: Rules
) -> None:
    comparisons, _ = compare(*answers, rules, **changes | {"length_control": "matched"})
    balance: Counter[str] = Counter()
    for row in comparisons:
        chosen, rejected = len(row["chosen"]), len(row["rejected"])
        share = abs(chosen - rejected) / max(chosen, rejected)
        assert share <= changes["length_tolerance"]
        edge = row["chosen_assistant"] + row["rejected_assistant"]
        balance[edge] += 1 if chosen > rejected else -1
    assert not any(balance.values())


@given(answers=draw_answers(), changes=CHANGES, rules=st.sampled_from(BOTH))
@settings(deadline=None, max_examples=150)
def test_nearest_chooses_each_rank_once_for_every_prompt(
    answers: tuple[list[Response], list[LedgerRow]], changes: dict[str, Any], rules: Rules
) -> None:
    comparisons, _ = compare(*answers, rules, **changes | {"pairs": "nearest"})
    rank = {name: i for i, level in enumerate(changes["rubric"]) for name in level}
    chosen = [(row["prompt_id"], rank[row["chosen_assistant"]]) for row in comparisons]
    assert len(set(chosen)) == len(chosen)


@given(answers=draw_answers(), changes=CHANGES, rules=st.sampled_from(BOTH), data=st.data())
@settings(deadline=None, max_examples=150)
def test_order_of_the_answers_decides_nothing_where_ranks_do_not_tie(
    answers: tuple[list[Response], list[LedgerRow]],
    changes: dict[str, Any],
    rules: Rules,
    data: st.DataObject,
) -> None:
    responses, bad = answers
    changes["rubric"] = data.draw(st.sampled_from([ABCD, ["D", "A"]]))
    results = []
    for rows in (responses, data.draw(st.permutations(responses))):
        comparisons, ledger = compare(rows, bad, rules, **changes)
        results.append(
            (
                sorted(comparisons, key=lambda row: row["comparison_id"]),
                sorted(ledger, key=lambda row: row["row_id"]),
            )
        )
    assert results[0] == results[1]


def test_usable_answer_of_an_assistant_outside_the_rubric_is_in_the_ledger() -> None:
    _, ledger = compare(make_responses(A=90, B=85, D=88), [], "corrected", rubric=["A", "B"])
    rows = [row["row_id"] for row in ledger if row["rule"] == UNRANKED]
    assert rows == ["p1-D"]


def test_answers_to_prompts_of_another_version_are_refused() -> None:
    strangers = make_responses("elsewhere", A=90, B=85)
    with pytest.raises(UserError, match="2 of 2 answer prompts that are not in this version"):
        make_comparisons(
            [make_prompt("p1")], strangers, [], ASSISTANTS, make_options(), "corrected"
        )


def test_answers_made_under_the_other_rule_set_are_refused() -> None:
    responses = make_responses("p1", A=90, B=85)
    made = drop_by_original("p1-A")
    with pytest.raises(UserError, match="made under the other rule set than `rules: corrected`"):
        make_comparisons(
            [make_prompt("p1")], responses, made, ASSISTANTS, make_options(), "corrected"
        )
