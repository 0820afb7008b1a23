"""What people voted: wins with intervals, how far the people agree, and who agrees with them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

from almost_kedro.errors import UserError
from almost_kedro.evaluation.floors import score_wins
from almost_kedro.evaluation.statistics import estimate_mean
from almost_kedro.rows.evaluation_metrics import HumanVotes
from almost_kedro.rows.human_votes import VoteKey, VotesFile
from almost_kedro.rows.metrics import CountedEstimate


class Ballot(NamedTuple):
    """A votes file and its name, for messages."""

    name: str
    content: VotesFile


class CountedVote(NamedTuple):
    """A vote that is no skip: model_a's score (1, 0.5 for a tie, 0), and that of the left side."""

    vote_id: str
    score: float
    left: float


def keep_newest(ballots: Sequence[Ballot]) -> list[Ballot]:
    """Keep one ballot of each browser and page, the one saved last.

    Raises UserError if two browsers voted on one page under one name: whether that was one person
    or two, the files do not tell.
    """
    newest: dict[tuple[str, str], Ballot] = {}
    for ballot in sorted(ballots, key=lambda each: each.content["saved"]):
        newest[ballot.content["page"], ballot.content["ballot"]] = ballot
    named: dict[tuple[str, str], str] = {}
    for ballot in newest.values():
        voter = ballot.content["voter"].strip()
        person = (ballot.content["page"], voter.casefold())
        if voter and person in named:
            raise UserError(
                f"{named[person]} and {ballot.name}: both are votes of {voter!r} on one page; give "
                "one of them, or let the two people write different names"
            )
        named[person] = ballot.name
    return list(newest.values())


def resolve_votes(ballot: Ballot, key: VoteKey) -> list[CountedVote]:
    """Say whom each vote of a ballot is for; skips are left out.

    Raises UserError if no vote is left, or for a vote on nothing on the page or given twice.
    """
    sides = {question["vote_id"]: question["a_is"] for question in key["questions"]}
    votes, seen = [], set()
    for number, vote in enumerate(ballot.content["votes"], 1):
        vote_id, choice = vote["vote_id"], vote["choice"]
        if vote_id not in sides or vote_id in seen:
            fault = "it has two votes on that" if vote_id in seen else "its page has no such"
            raise UserError(
                f"{ballot.name}, vote {number}: {fault} question ({vote_id!r:.40}); save the votes "
                "on the page anew"
            )
        seen.add(vote_id)
        if choice != "skip":
            left = {"left": 1.0, "tie": 0.5, "right": 0.0}[choice]
            votes.append(CountedVote(vote_id, left if sides[vote_id] == "left" else 1 - left, left))
    if not votes:
        raise UserError(f"{ballot.name}: no votes in it, or skips only; leave it out")
    return votes


def count_votes(key: VoteKey, ballots: Sequence[Ballot], seed: int) -> HumanVotes:
    """Count all people's votes on a page.

    Intervals are by bootstrap over questions, each with all its votes. Raises UserError for a
    ballot that does not fit; see `resolve_votes`.
    """
    votes = [vote for ballot in ballots for vote in resolve_votes(ballot, key)]
    scores = [vote.score for vote in votes]
    groups = [vote.vote_id for vote in votes]
    by_question: dict[str, list[float]] = defaultdict(list)
    for vote in votes:
        by_question[vote.vote_id].append(vote.score)
    return HumanVotes(
        page=key["page"],
        model_a=key["model_a"],
        model_b=key["model_b"],
        answers=key["answers"],
        n_people=len(ballots),
        n_questions=len(key["questions"]),
        n_voted=len(by_question),
        n_votes=len(votes),
        n_skipped=sum(len(ballot.content["votes"]) for ballot in ballots) - len(votes),
        wins_a=scores.count(1),
        ties=scores.count(0.5),
        wins_b=scores.count(0),
        win_rate=estimate_mean(scores, groups, seed),
        left_wins=estimate_mean([vote.left for vote in votes], groups, seed),
        agreement=measure_agreement(by_question, seed),
        alpha=krippendorff_alpha(by_question.values()),
        judge=key["judge"],
        judges=compare_with_judges(key, by_question, seed),
    )


def measure_agreement(votes: Mapping[str, Sequence[float]], seed: int) -> CountedEstimate | None:
    """Return the share of pairs of votes on one question that agree; None without such pairs.

    Args:
        votes: By question.
        seed: Of the bootstrap over questions.
    """
    pairs = [
        (question, float(one == other))
        for question, scores in votes.items()
        for one, other in combinations(scores, 2)
    ]
    return _estimate([same for _, same in pairs], [question for question, _ in pairs], seed)


def krippendorff_alpha(units: Iterable[Sequence[float]]) -> float | None:
    """Return how far votes agree beyond chance: 1 always, 0 as by chance, below 0 less than that.

    Krippendorff's alpha for nominal values, 1 - observed / expected disagreement (Krippendorff
    2011, "Computing Krippendorff's alpha-reliability", section C). Units may have any number of
    votes; those with one vote have nothing to agree with. None if no unit has two, or if all votes
    are equal.
    """
    counts = [Counter(votes) for votes in units if len(votes) > 1]
    totals = sum(counts, Counter[float]())
    n = totals.total()
    if len(totals) < 2:
        return None
    # Ordered pairs of unequal votes; within a unit, each vote weighs the same in all units.
    observed = sum(_count_unequal(unit) / (unit.total() - 1) for unit in counts) / n
    expected = _count_unequal(totals) / (n * (n - 1))
    return 1 - observed / expected


def _count_unequal(values: Counter[float]) -> int:
    return values.total() ** 2 - sum(count**2 for count in values.values())


def compare_with_judges(
    key: VoteKey, votes: Mapping[str, Sequence[float]], seed: int
) -> dict[str, CountedEstimate]:
    """Return how often each judge of the run prefers what most people prefer.

    Questions without a majority are left out; a judge's tie counts half.

    Args:
        key: Has the judges' scores.
        votes: Model_a's scores by question.
        seed: Of the bootstrap over questions.
    """
    found: dict[str, list[tuple[str, float]]] = defaultdict(list)
    for question in key["questions"]:
        scores = votes.get(question["vote_id"], [])
        majority = float(score_wins(sum(scores) - len(scores) / 2))
        if majority != 0.5:
            for judge, score in question["judges"].items():
                found[judge].append((question["vote_id"], 1 - abs(score - majority)))
    shares = {
        judge: _estimate([score for _, score in rows], [name for name, _ in rows], seed)
        for judge, rows in found.items()
    }
    return {judge: share for judge, share in shares.items() if share}


def _estimate(values: Sequence[float], groups: Sequence[str], seed: int) -> CountedEstimate | None:
    share = estimate_mean(values, groups, seed)
    return CountedEstimate(**share, n=len(values)) if share else None
