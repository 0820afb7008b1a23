"""Votes on reviews made by hand."""

from almost_kedro.evaluation.judge import make_vote
from almost_kedro.rows.evaluation import Order, Vote


def vote(item: str, order: Order, review: str) -> Vote:
    return make_vote(item, "sft", "base", order, review)


def vote_twice(item: str, a_first: str, b_first: str) -> list[Vote]:
    return [vote(item, "a_first", a_first), vote(item, "b_first", b_first)]
