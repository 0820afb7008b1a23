"""Preference sets with scores by hand: who is right, by how much, and how far that is known."""

from typing import Any

import pytest
from made_rows import make_comparison, make_pair_item, make_preference_item, make_source

from almost_kedro.errors import UserError
from almost_kedro.evaluation.preferences import (
    judge_by_floors,
    judge_items,
    list_answers,
    list_held_out,
    list_hhh,
    report_preferences,
    subtract_base,
)
from almost_kedro.evaluation.statistics import bootstrap_mean
from almost_kedro.rows.preferences import PreferenceItem


def make_items(*prompts: str, **fields: Any) -> list[PreferenceItem]:
    return [
        make_preference_item(f"mine-{number:04d}", prompt_id=prompt, **fields)
        for number, prompt in enumerate(prompts, 1)
    ]


def make_scores(items: list[PreferenceItem], *scores: tuple[float, ...]) -> dict[str, float]:
    ids = [row["id"] for row in list_answers(items)]
    values = [value for each in scores for value in each]
    return dict(zip(ids, values, strict=True))


def test_an_implicit_reward_is_what_training_added_to_an_answers_log_probability() -> None:
    items = make_items("p")
    # The base finds the right answer less probable by 5; training narrows that to 2: +3 and +0.
    policy, base = make_scores(items, (-12.0, -10.0)), make_scores(items, (-15.0, -10.0))
    rewards = subtract_base({"base": base, "sft": policy, "prompted": base})
    assert rewards == {"sft": {"mine-0001/0": 3.0, "mine-0001/1": 0.0}}
    [row] = judge_items(items, "sft", rewards["sft"])
    assert (row["verdict"], row["hit"], row["score_right"], row["score_wrong"]) == (
        *("right", 1.0),
        *(3.0, 0.0),
    )
    assert row["verdict_id"] == "mine/sft/mine-0001"


def test_a_policy_that_nothing_changed_prefers_nothing() -> None:
    items = make_items("p")
    same = make_scores(items, (-12.0, -10.0))
    [row] = judge_items(items, "rl", subtract_base({"base": same, "rl": same})["rl"])
    assert (row["verdict"], row["hit"]) == ("tie", 0.5)


@pytest.mark.parametrize(
    ("scores", "verdict", "hit"),
    [
        ((2.0, 1.0, 0.0, -1.0), "right", 1.0),
        ((1.0, 2.0, 0.0, -1.0), "wrong", 0.0),
        ((1.0, 1.0, 0.0, -1.0), "tie", 1 / 2),
        ((1.0, 1.0, 1.0, 1.0), "tie", 1 / 4),
        ((0.0, 1.0, 1.0, 1.0), "wrong", 0.0),
    ],
)
def test_of_four_answers_the_right_one_has_to_score_highest_and_ties_share(
    scores: tuple[float, ...], verdict: str, hit: float
) -> None:
    items = make_items("p", choices=["Right.", "a", "b", "c"])
    [row] = judge_items(items, "reward_model", make_scores(items, scores))
    assert (row["n_choices"], row["verdict"], row["hit"]) == (4, verdict, hit)


def test_a_score_that_is_none_is_refused() -> None:
    items = make_items("p")
    with pytest.raises(UserError, match="mine-0001/1"):
        judge_items(items, "reward_model", make_scores(items, (1.0, float("nan"))))


def test_floors_go_by_characters_or_by_nothing() -> None:
    items = make_items("p", choices=["Longest.", "a", "bb", "ccc"])
    hits = {name: rows[0]["hit"] for name, rows in judge_by_floors(items).items()}
    assert hits == {"chance": 1 / 4, "longer_wins": 1.0, "shorter_wins": 0.0}


def test_accuracies_are_by_subset_and_their_intervals_over_prompts() -> None:
    items = [
        *make_items("p", "p", "p", "p", category="easy"),
        make_preference_item("mine-0005", prompt_id="q", category="hard"),
    ]
    scores = make_scores(items, (1, 0), (1, 0), (1, 0), (1, 0), (0, 1))
    verdicts = {"sft": judge_items(items, "sft", scores)}
    report = report_preferences(items, verdicts, make_source(), seed=1)
    found = report["models"]["sft"]
    assert (report["n"], report["n_prompts"]) == (5, 2)
    assert found["accuracy"]["value"] == 4 / 5
    assert {name: each["accuracy"]["value"] for name, each in found["by_category"].items()} == {
        "easy": 1.0,
        "hard": 0.0,
    }
    # Two prompts and not five items are drawn: either may be missing.
    low, high = bootstrap_mean([1, 1, 1, 1, 0], ["p", "p", "p", "p", "q"], seed=1)
    assert (found["accuracy"]["low"], found["accuracy"]["high"]) == (low, high) == (0.0, 1.0)
    # Both answers have 8 characters: "longer wins" ties, so it is right in half.
    assert report["floors"]["longer_wins"]["accuracy"]["value"] == 0.5
    assert report["differences"]["sft-vs-longer_wins"]["value"] == pytest.approx(0.3)
    assert report["source"] == make_source()


def test_pairs_of_hhh_and_held_out_comparisons_are_sets_too() -> None:
    dialogue = "\n\nHuman: Why?\n\nAssistant:"
    [first, second] = list_hhh([make_pair_item("hhh-0001"), make_pair_item("hhh-0002")])
    assert (first["set"], first["category"]) == ("hhh", "helpful")
    assert first["choices"] == ["Rinse it.", "Dunno."]
    assert first["prompt_id"] == second["prompt_id"]
    [row] = list_held_out([make_comparison("c1")])
    assert row == {
        "item_id": "c1",
        "set": "held_out",
        "prompt_id": "p-c1",
        "category": "A-vs-B",
        "dialogue": dialogue,
        "choices": ["Because.", "No."],
    }
    assert list_answers([row]) == [
        {"id": "c1/0", "dialogue": dialogue, "answer": "Because."},
        {"id": "c1/1", "dialogue": dialogue, "answer": "No."},
    ]
