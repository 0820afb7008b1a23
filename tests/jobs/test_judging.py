"""Judging by a model on servers: the node itself, the real worker, a real HTTP server."""

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from chat_server import ChatServer, prefer_first, prefer_longer, serve
from made_rows import make_open_answer, make_question
from option_values import PARAMETERS, make_options, make_workplace
from pydantic import SecretStr

from almost_kedro.errors import UserError
from almost_kedro.evaluation.stages import list_judged
from almost_kedro.jobs.generate import CACHE
from almost_kedro.pipelines.evaluation.judging import judge_answers
from almost_kedro.rows.evaluation import JudgeVotes, OpenAnswer

# Of each model, an answer to either question; q2 has its best answers the other way round.
LENGTHS = {"base": (10, 40), "prompted": (20, 30), "sft": (30, 20), "rl": (40, 10)}
QUESTIONS = [make_question(item, f"Why is {item} so?") for item in ("q1", "q2")]
Answered = list[OpenAnswer]


def make_answers(lengths: dict[str, tuple[int, int]] = LENGTHS) -> Answered:
    return [
        make_open_answer(policy, item, policy[0] * length, answer_id=f"{policy}/{item}/{length}")
        for policy, both in lengths.items()
        for item, length in zip(("q1", "q2"), both, strict=True)
    ]


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with serve(prefer_longer) as server:
        yield server


def judge(
    work: Path,
    *servers: ChatServer,
    answers: Answered | None = None,
    key: str | None = None,
    revision: str = "1",
    dtype: str = "float32",
    seed: int = 0,
    **options: int,
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Run the node as the pipeline does; the reward model is not looked at."""
    critic = {"source": "server", "id": "org/critic", "revision": revision, "chat": True}
    entries = [
        {"url": each.url, "model": "critic", "key": "mine" if key else None, "concurrency": 2}
        for each in servers
    ]
    votes, cards = judge_answers(
        QUESTIONS,
        make_answers() if answers is None else answers,
        hhh_items=[],
        prompt_splits=[],
        held_out_reward_model=None,  # type: ignore[arg-type]
        options=make_options(
            models={**PARAMETERS["models"], "critic": critic},
            generation={"servers": entries, "dtype": dtype},
            evaluation={"judge": "critic", **options},
            seed=seed,
        ),
        workplace=make_workplace(work, keys={"mine": SecretStr(key)} if key else {}),
    )
    return JudgeVotes().validate(votes), cards  # type: ignore[arg-type, return-value]


class Judged(NamedTuple):
    """What a judge by length made of the answers, and where."""

    server: ChatServer
    work: Path
    votes: list[dict[str, Any]]
    cards: dict[str, Any]


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judged]:
    work = tmp_path_factory.mktemp("judged")
    with serve(prefer_longer) as server:
        yield Judged(server, work, *judge(work, server))


def test_a_judge_by_length_never_flips_and_its_card_is_worked_out_by_hand(judged: Judged) -> None:
    votes = judged.votes
    assert (
        len(votes)
        == len(judged.server.bodies)
        == 2 * len(list_judged(LENGTHS)) * len(QUESTIONS)
        == 24
    )
    assert [vote["vote_id"] for vote in votes[:4]] == [
        "sft-vs-base/q1/a_first",
        "sft-vs-base/q1/b_first",
        "sft-vs-base/q2/a_first",
        "sft-vs-base/q2/b_first",
    ]
    assert [vote["verdict"] for vote in votes[:4]] == ["win", "win", "loss", "loss"]
    assert votes[1] == {
        "item_id": "q1",
        "model_a": "sft",
        "model_b": "base",
        "order": "b_first",
        "score_first": 5,
        "score_second": 8,
        "verdict": "win",
        "valid": True,
        "reason": "",
        "review": "5 8\nThe second says more.",
        "vote_id": "sft-vs-base/q1/b_first",
        "answer_a": "sft/q1/30",
        "answer_b": "base/q1/10",
    }
    card = judged.cards["cards"]["sft-vs-base"]
    assert (card["n_questions"], card["n_votes"], card["n_valid"]) == (2, 4, 4)
    assert card["flip_rate"]["value"] == card["invalid_rate"]["value"] == 0
    assert card["win"]["value"] == card["loss"]["value"] == card["first_wins"]["value"] == 0.5
    assert card["score_sum_a"] == card["score_sum_b"] == 8 + 8 + 5 + 5
    assert (card["length_a"], card["length_b"]) == (25, 25)


def test_the_cards_say_who_judged_and_what_was_asked(judged: Judged) -> None:
    cards = judged.cards
    assert cards["judge"] == "critic"
    assert cards["description"] == "critic (org/critic@1, asked by chat)"
    assert cards["models"] == {
        "critic": {
            "fingerprint": "server:org/critic@1/chat",
            "id": "org/critic",
            "revision": "1",
            "chat": True,
        }
    }
    asked = (cards["cost"]["requests_generated"], cards["cost"]["requests_from_cache"])
    assert asked == (24, 0)


def test_a_judge_that_takes_the_first_answer_always_flips(
    server: ChatServer, tmp_path: Path
) -> None:
    server.judge = prefer_first
    _, cards = judge(tmp_path, server)
    for card in cards["cards"].values():
        assert card["flip_rate"]["value"] == card["first_wins"]["value"] == 1
        assert card["win"]["value"] == card["loss"]["value"] == card["win_rate"]["value"] == 0.5


def test_what_is_no_review_is_invalid_and_never_a_tie(server: ChatServer, tmp_path: Path) -> None:
    said = {
        ("s" * 30, "b" * 10): "Both have merits.",
        ("b" * 10, "s" * 30): "8/5 5/5",
        ("s" * 20, "b" * 40): "11 3",
        ("r" * 40, "s" * 30): "",
        ("s" * 30, "r" * 40): None,
    }
    server.judge = lambda question, *shown: said.get(shown, "6 6")
    votes, cards = judge(tmp_path, server)
    reasons = {vote["vote_id"]: vote["reason"] for vote in votes if not vote["valid"]}
    expected = "no two scores from 1 to 10 on the first line: "
    assert reasons == {
        "sft-vs-base/q1/a_first": f"{expected}'Both have merits.'",
        "sft-vs-base/q1/b_first": f"{expected}'8/5 5/5'",
        "sft-vs-base/q2/a_first": f"{expected}'11 3'",
        "rl-vs-sft/q1/a_first": f"{expected}''",
        "rl-vs-sft/q1/b_first": "the judge's server kept the review back (its content filter)",
    }
    assert {vote["verdict"] for vote in votes if vote["vote_id"] in reasons} == {None}
    first, second, third = (
        cards["cards"][name] for name in ("sft-vs-base", "rl-vs-sft", "rl-vs-base")
    )
    assert [card["invalid_rate"]["value"] for card in (first, second, third)] == [0.75, 0.5, 0]
    # The one vote that is left is a tie of 6 and 6; no question has both orders valid.
    assert (first["n_valid"], first["tie"]["value"], first["score_sum_a"]) == (1, 1, 6)
    assert first["flip_rate"] is None


THINKING = (
    "<think>\nThe first says 3 things, the second 4. Is it 9 9?\n</think>\n\n"
    "**Answer 1:** {}/10\n**Answer 2:** {}/10\n\nThe longer one says more."
)


def test_a_judge_that_thinks_first_is_read_and_its_cached_replies_are_read_again(
    server: ChatServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server.judge = lambda *case: THINKING.format(*prefer_longer(*case).split()[:2])
    votes, _ = judge(tmp_path, server)
    assert all(vote["valid"] for vote in votes)
    assert [vote["verdict"] for vote in votes[:4]] == ["win", "win", "loss", "loss"]
    assert "invalid" not in caplog.text
    # What is kept is what the judge wrote, so no reader asks anew.
    with closing(sqlite3.connect(tmp_path / CACHE)) as cache:
        kept = {text for (text,) in cache.execute("SELECT text FROM completions")}
    assert kept == {THINKING.format(8, 5), THINKING.format(5, 8)}
    again, cost = judge(tmp_path, server)
    assert again == votes
    assert (cost["cost"]["requests_generated"], len(server.bodies)) == (0, 24)


def test_a_judge_that_cannot_be_read_is_a_warning(
    server: ChatServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server.judge = lambda *case: "Both have merits."
    judge(tmp_path, server)
    assert (
        "24 of 24 votes of the judge are invalid, the first for this: no two scores from 1 to 10 "
        "on the first line: 'Both have merits.'" in caplog.text
    )


def test_reviews_have_as_many_tokens_as_the_option_says(server: ChatServer, tmp_path: Path) -> None:
    judge(tmp_path, server)
    judge(tmp_path, server, judge_max_new_tokens=4000)
    assert [body["max_tokens"] for body in server.bodies] == [300] * 24 + [4000] * 24


def test_a_request_that_the_judge_refuses_is_an_invalid_vote_and_asked_again(
    server: ChatServer, tmp_path: Path
) -> None:
    server.fault = lambda number: 413 if number == 3 else None
    votes, cards = judge(tmp_path, server)
    [reason] = [vote["reason"] for vote in votes if not vote["valid"]]
    assert reason == "the judge's server refused the request; the log has what it said"
    assert cards["cost"]["requests_refused"] == 1
    votes, cards = judge(tmp_path, server)
    assert all(vote["valid"] for vote in votes)
    assert cards["cost"]["requests_generated"] == 1


def test_a_question_that_was_left_out_is_not_judged(server: ChatServer, tmp_path: Path) -> None:
    answers = [row for row in make_answers() if row["item_id"] == "q2"]
    votes, cards = judge(tmp_path, server, answers=answers)
    assert {vote["item_id"] for vote in votes} == {"q2"}
    assert cards["cards"]["sft-vs-base"]["n_questions"] == 1


def test_nobody_is_asked_twice_about_the_same_answers(judged: Judged) -> None:
    again, cards = judge(judged.work, judged.server, dtype="bfloat16", seed=7)
    assert again == judged.votes
    assert cards["cost"]["requests_generated"] == 0
    assert cards["cost"]["requests_from_cache"] == len(judged.server.bodies) == 24


def test_another_answer_or_another_judge_is_asked_about_anew(
    server: ChatServer, tmp_path: Path
) -> None:
    judge(tmp_path, server)
    del server.bodies[:]
    votes, _ = judge(tmp_path, server, answers=make_answers({**LENGTHS, "sft": (5, 20)}))
    # Three pairs have the SFT policy: its new answer was shown first and second in each.
    assert Counter(server.asked) == Counter(
        ("Why is q1 so?", *shown)
        for other in ("b" * 10, "r" * 40, "p" * 20)
        for shown in (("s" * 5, other), (other, "s" * 5))
    )
    assert [vote["verdict"] for vote in votes[:2]] == ["loss", "loss"]
    del server.bodies[:]
    judge(tmp_path, server, revision="2")
    assert len(server.bodies) == 24


def test_after_a_failure_half_way_only_what_is_missing_is_asked(
    server: ChatServer, tmp_path: Path
) -> None:
    server.fault = lambda number: 401 if number >= 9 else None
    with pytest.raises(
        UserError, match=rf"no server is left: {server.url} refuses .* what was answered is kept"
    ):
        judge(tmp_path, server)
    server.fault = lambda number: None
    _, cards = judge(tmp_path, server)
    kept = cards["cost"]["requests_from_cache"]
    # One more was perhaps on its way when the first was refused.
    assert kept in (8, 9)
    assert cards["cost"]["requests_generated"] == 24 - kept
    assert len(set(server.asked)) == 24


def test_two_servers_share_the_work_and_errors_are_tried_again(
    server: ChatServer, tmp_path: Path
) -> None:
    server.fault, server.retry_after = (lambda number: {1: 429, 2: 500}.get(number)), "0"
    with serve(prefer_longer) as other:
        votes, _ = judge(tmp_path, server, other)
        assert server.answered + other.answered == 24
        assert min(server.answered, other.answered) > 0
    assert all(vote["valid"] for vote in votes)


def test_the_key_is_sent_and_stored_nowhere(
    server: ChatServer, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    server.key = "sk-critic-secret"
    judge(tmp_path, server, key="sk-critic-secret")
    assert server.answered == 24
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.name == "job.json" for path in files)
    for path in files:
        assert b"sk-critic-secret" not in path.read_bytes(), path
    captured = capfd.readouterr()
    assert "sk-critic-secret" not in captured.out + captured.err
