"""Dialogues to read."""

from typing import Any

from almost_kedro.pages.report.samples import cut, sample_prompts, sample_questions, spread


def make_answer(item: str, policy: str, text: str = "Yes.", **more: Any) -> dict[str, Any]:
    return {
        "answer_id": f"{policy}-{item}",
        "policy": policy,
        "text": text,
        "finish_reason": "stop",
        "n_tokens": 2,
        **more,
    }


def make_vote(**changes: Any) -> dict[str, Any]:
    return {
        "item_id": "o1",
        "model_a": "sft",
        "model_b": "base",
        "order": "any",
        "score_first": 1.0,
        "score_second": -0.5,
        "verdict": "win",
        "valid": True,
        "reason": "",
        **changes,
    }


def test_items_are_spread_from_the_first_to_the_last() -> None:
    assert spread(range(10), 4) == [0, 3, 6, 9]
    assert spread(range(3), 4) == [0, 1, 2]
    assert spread(range(9), 1) == [0]
    assert spread([], 4) == []


def test_a_cut_text_says_how_long_it_is() -> None:
    assert cut("abc", 3) == "abc"
    assert cut("a" * 1_000_000, 3) == "aaa [... 1,000,000 characters in all]"


def test_all_models_answer_the_same_question_side_by_side_with_the_votes() -> None:
    questions: Any = [{"item_id": f"o{i}", "question": f"Why {i}?"} for i in range(5)]
    answers: Any = [
        make_answer(f"o{i}", policy, item_id=f"o{i}")
        for policy in ("base", "sft")
        for i in range(5)
    ]
    votes: Any = [
        make_vote(),
        make_vote(valid=False, verdict=None, reason="no scores", order="a_first"),
        make_vote(item_id="o4"),
    ]
    found = sample_questions(questions, answers, votes, n=2)
    assert [each.name for each in found] == ["o0", "o4"]
    assert [answer.model for answer in found[1].answers] == ["base", "sft"]
    assert found[1].votes == ("sft against base: win (+1.00 to -0.50)",)
    assert found[0].votes == ()
    [first] = sample_questions(questions[1:2], answers, votes)
    assert first.votes[1] == "sft against base (a first): invalid: no scores"


def test_test_prompts_have_rewards_and_each_model_once() -> None:
    prompts: Any = [{"prompt_id": f"p{i}", "text": f"Do {i}."} for i in range(3)]
    rewards = {"reward": 0.5, "held_out_reward": -0.25, "prompt_id": "p2"}
    answers: Any = [
        make_answer("p2", "sft", **rewards),
        make_answer("p2", "rl", **{**rewards, "finish_reason": "length"}),
        make_answer("p2", "sft", "Another.", **rewards),
    ]
    [found] = sample_prompts(prompts, answers)
    assert found.question == "Do 2."
    assert [(a.model, a.text, a.notes) for a in found.answers] == [
        ("sft", "Yes.", "reward +0.50, held-out -0.25, 2 tokens"),
        ("rl", "Yes.", "reward +0.50, held-out -0.25, 2 tokens, cut off"),
    ]
