"""What rows add to figures, and when two runs have a row in common."""

from operator import itemgetter

from almost_kedro.commands.compare.scores import (
    name_contents,
    score_answers,
    score_comparisons,
    score_verdicts,
    score_votes,
)


def test_an_item_is_the_same_only_if_its_text_is() -> None:
    own = [{"item_id": "hhh-0001", "chosen": "yes"}, {"item_id": "hhh-0002", "chosen": "no"}]
    published = [
        {"item_id": "hhh-0001", "chosen": "other"},
        {"item_id": "hhh-0002", "chosen": "no"},
    ]
    one, two = name_contents(own, "item_id"), name_contents(published, "item_id")
    assert one["hhh-0001"] != two["hhh-0001"]
    assert one["hhh-0002"] == two["hhh-0002"]
    chosen = name_contents([{**own[0], "n": 1}], "item_id", ("item_id", "chosen"))
    assert chosen == name_contents([{**own[0], "n": 2}], "item_id", ("item_id", "chosen"))


def test_verdicts_are_hits_by_model() -> None:
    rows = [{"model": "sft", "item_id": "a", "hit": 0.5}, {"model": "rl", "item_id": "a", "hit": 1}]
    assert score_verdicts(rows, {"a": "A"}) == {"sft": [("A", "a", 0.5)], "rl": [("A", "a", 1)]}
    assert score_verdicts(rows[:1], {}) == {"sft": [("", "a", 0.5)]}


def test_equal_rewards_are_half_right() -> None:
    rows = [
        {"comparison_id": str(i), "prompt_id": "p", "reward_chosen": x, "reward_rejected": 1.0}
        for i, x in enumerate([2.0, 1.0, 0.0])
    ]
    scores = score_comparisons(rows, {"0": "A"}, "reward")
    assert scores == [("A", "p", 1.0), ("", "p", 0.5), ("", "p", 0.0)]


def test_answers_have_rewards_and_lengths() -> None:
    rows = [{"policy": "rl", "prompt_id": "p", "text": "four", "reward": -1.5}]
    assert score_answers(rows, itemgetter("reward")) == {"rl": [("p", "p", -1.5)]}
    assert score_answers(rows, lambda row: len(row["text"])) == {"rl": [("p", "p", 4.0)]}


def test_only_valid_votes_against_the_base_model_count() -> None:
    vote = {"item_id": "q", "model_a": "rl", "model_b": "base", "order": "a_first", "valid": True}
    rows = [
        {**vote, "verdict": "win"},
        {**vote, "verdict": "tie", "order": "b_first"},
        {**vote, "verdict": "loss", "model_b": "sft"},
        {**vote, "verdict": None, "valid": False},
    ]
    assert score_votes(rows, {"q": "Q"}) == {
        "rl": [("Q/a_first", "q", 1.0), ("Q/b_first", "q", 0.5)]
    }
