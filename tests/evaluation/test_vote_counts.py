"""Counts of people's votes, worked out by hand."""

import json
from typing import Any

import pytest
from pydantic import TypeAdapter
from vote_sample import make_votes_file

from almost_kedro.errors import UserError
from almost_kedro.evaluation.vote_counts import (
    Ballot,
    count_votes,
    keep_newest,
    krippendorff_alpha,
    measure_agreement,
    resolve_votes,
)
from almost_kedro.rows.human_votes import VoteKey, VotesFile

JUDGES = {"reward_model": 1.0, "held_out_reward_model": 0.0}
SIDES = [("v1", "left", JUDGES), ("v2", "right", JUDGES), ("v3", "left", {"judge": 0.5})]
KEY: VoteKey = {
    "page": "page-1",
    "model_a": "sft",
    "model_b": "base",
    "seed": 0,
    "answers": {"open_answers": "v1"},
    "judge": "critic",
    "questions": [
        {
            "vote_id": vote_id,
            "source": "open_answers",
            "item_id": vote_id,
            "a_is": side,
            "answer_a": f"a-{vote_id}",
            "answer_b": f"b-{vote_id}",
            "judges": judges,
        }
        for vote_id, side, judges in SIDES
    ],
}


def make_ballot(name: str, choices: Any, page: str = "page-1", **fields: Any) -> Ballot:
    content = make_votes_file(page, choices, ballot=name, **fields)
    found = TypeAdapter(VotesFile).validate_json(json.dumps(content))
    return Ballot(f"{name}.json", found)


def test_a_vote_is_for_whoever_was_on_that_side() -> None:
    votes = resolve_votes(make_ballot("x", {"v1": "left", "v2": "left", "v3": "tie"}), KEY)
    assert votes == [("v1", 1.0, 1.0), ("v2", 0.0, 1.0), ("v3", 0.5, 0.5)]


def test_all_figures_by_hand() -> None:
    ballots = [
        make_ballot("x", {"v1": "left", "v2": "right", "v3": "tie"}),  # win, win, tie
        make_ballot("y", {"v1": "left", "v2": "left", "v3": "right"}),  # win, loss, loss
        make_ballot("z", {"v1": "tie", "v2": "right", "v3": "skip"}),  # tie, win
    ]
    found = count_votes(KEY, ballots, seed=0)
    assert (found["n_people"], found["n_questions"], found["n_voted"]) == (3, 3, 3)
    assert (found["n_votes"], found["n_skipped"]) == (8, 1)
    assert (found["wins_a"], found["ties"], found["wins_b"]) == (4, 2, 2)
    assert found["win_rate"] is not None
    assert found["win_rate"]["value"] == 5 / 8
    assert found["win_rate"]["low"] <= 5 / 8 <= found["win_rate"]["high"]
    # Left: x 1, 0, half; y 1, 1, 0; z half, 0.
    assert found["left_wins"] is not None
    assert found["left_wins"]["value"] == 4 / 8
    # Pairs: v1 has one equal one of three, v2 the same, v3 none of one.
    assert found["agreement"] is not None
    assert (found["agreement"]["value"], found["agreement"]["n"]) == (2 / 7, 7)
    # Observed (4/2 + 4/2 + 2/1) / 8; expected (64 - 16 - 4 - 4) / (8 * 7).
    assert found["alpha"] == pytest.approx(1 - (6 / 8) / (40 / 56))
    # Most people: v1 and v2 for sft, v3 for base.
    judges = {name: (each["value"], each["n"]) for name, each in found["judges"].items()}
    assert judges == {
        "reward_model": (1.0, 2),
        "held_out_reward_model": (0.0, 2),
        "judge": (0.5, 1),
    }


def test_one_person_agrees_with_nobody_and_ties_are_no_majority() -> None:
    found = count_votes(KEY, [make_ballot("x", {"v1": "tie", "v2": "tie"})], seed=0)
    assert found["agreement"] is None
    assert found["alpha"] is None
    assert found["judges"] == {}
    assert found["n_voted"] == 2
    assert measure_agreement({"v1": [1.0]}, seed=0) is None


def test_alpha_is_that_of_krippendorff_s_example() -> None:
    # "Computing Krippendorff's alpha-reliability" (2011), section C: four observers, twelve units,
    # nominal data with missing values; alpha is 0.743.
    observers = [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, None],
        [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, 3],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
    ]
    units = [[each for each in unit if each is not None] for unit in zip(*observers, strict=True)]
    assert krippendorff_alpha(units) == pytest.approx(0.743, abs=5e-4)


def test_alpha_at_its_ends() -> None:
    assert krippendorff_alpha([[1, 1], [0, 0]]) == 1
    # All pairs differ: observed 1, expected 8 / 12.
    assert krippendorff_alpha([[1, 0], [1, 0]]) == pytest.approx(-0.5)
    assert krippendorff_alpha([[1, 1], [1, 1]]) is None
    assert krippendorff_alpha([[1], [0]]) is None


def test_a_browser_that_saved_twice_counts_once_and_the_newest_counts() -> None:
    old = make_ballot("x", {"v1": "left"}, saved="2026-01-01T00:00:00Z")
    new = make_ballot("x", {"v1": "right"}, saved="2026-01-01T01:00:00+00:30")
    other = make_ballot("y", {"v1": "left"}, saved="2026-01-01T02:00:00Z")
    assert keep_newest([new, other, old]) == [new, other]
    assert keep_newest([other, other]) == [other]


def test_two_browsers_under_one_name_are_refused() -> None:
    ballots = [make_ballot("x", {}, voter="Ada"), make_ballot("y", {}, voter=" ada ")]
    with pytest.raises(UserError, match=r"^x\.json and y\.json: both are votes of 'ada' on one"):
        keep_newest(ballots)
    elsewhere = make_ballot("y", {}, voter="Ada", page="page-2")
    assert keep_newest([ballots[0], elsewhere]) == [ballots[0], elsewhere]
    unnamed = [make_ballot("x", {}), make_ballot("y", {})]
    assert keep_newest(unnamed) == unnamed


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({}, "x.json: no votes in it, or skips only"),
        ({"v1": "skip"}, "x.json: no votes in it, or skips only"),
        ({"v1": "left", "v9": "tie"}, "x.json, vote 2: its page has no such question ('v9')"),
        (
            [("v1", "left"), ("v1", "tie")],
            "x.json, vote 2: it has two votes on that question ('v1')",
        ),
    ],
)
def test_ballots_that_do_not_fit_are_refused(choices: Any, message: str) -> None:
    with pytest.raises(UserError) as caught:
        resolve_votes(make_ballot("x", choices), KEY)
    assert str(caught.value).startswith(message)
