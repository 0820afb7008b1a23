"""The judge card: the result of the votes on two models, and how reliable their judge is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from almost_kedro.evaluation.floors import NEWTON_STEPS, RIDGE, score_wins
from almost_kedro.evaluation.judge import WINS, order_scores, read_lead
from almost_kedro.evaluation.statistics import estimate_mean
from almost_kedro.rows.evaluation import Vote
from almost_kedro.rows.evaluation_metrics import JudgeCard, Trust
from almost_kedro.rows.metrics import Estimate

Floats = NDArray[np.float64]
DRAWS = 2000


def judge_card(
    votes: Sequence[Vote], answers: Mapping[str, Mapping[str, str]], seed: int
) -> JudgeCard:
    """Sum up the votes on two models, at most one for each question and order.

    `answers` are by model and by item_id. Raises ValueError if there are no votes, votes on other
    models, or two of one order.
    """
    models = {(vote["model_a"], vote["model_b"]) for vote in votes}
    if len(models) != 1 or len({(vote["item_id"], vote["order"]) for vote in votes}) < len(votes):
        raise ValueError(f"a card is about one vote a question and order on one pair: {models}")
    [(model_a, model_b)] = models
    items = list(dict.fromkeys(vote["item_id"] for vote in votes))
    texts_a, texts_b = ([answers[model][item] for item in items] for model in (model_a, model_b))
    leads = {item: len(a) - len(b) for item, a, b in zip(items, texts_a, texts_b, strict=True)}
    valid = [vote for vote in votes if vote["valid"]]
    groups = [vote["item_id"] for vote in valid]
    shares = {
        name: np.array([float(vote["verdict"] == name) for vote in valid])
        for name in ("win", "tie", "loss")
    }
    sums = np.sum([order_scores(vote) for vote in valid], axis=0) if valid else np.zeros(2)
    return JudgeCard(
        model_a=model_a,
        model_b=model_b,
        n_questions=len(items),
        n_votes=len(votes),
        **_measure_trust(votes, seed),
        win=estimate_mean(shares["win"], groups, seed),
        tie=estimate_mean(shares["tie"], groups, seed),
        loss=estimate_mean(shares["loss"], groups, seed),
        win_rate=estimate_mean(shares["win"] + shares["tie"] / 2, groups, seed),
        length_controlled_win_rate=control_length(valid, leads, seed),
        score_sum_a=float(sums[0]),
        score_sum_b=float(sums[1]),
        length_a=sum(map(len, texts_a)) / len(items),
        length_b=sum(map(len, texts_b)) / len(items),
    )


def _measure_trust(votes: Sequence[Vote], seed: int) -> Trust:
    wins = defaultdict(list)
    first_wins, groups = [], []
    for vote in votes:
        if vote["valid"] and vote["order"] != "any":
            win = _read_win(vote)
            wins[vote["item_id"]].append(win)
            groups.append(vote["item_id"])
            first_wins.append(win if vote["order"] == "a_first" else 1 - win)
    both = {item: pair for item, pair in wins.items() if len(pair) == 2}
    flips = [float(one != other) for one, other in both.values()]
    invalid = [float(not vote["valid"]) for vote in votes]
    invalid_rate = estimate_mean(invalid, [vote["item_id"] for vote in votes], seed)
    assert invalid_rate is not None
    return Trust(
        n_valid=len(votes) - int(sum(invalid)),
        invalid_rate=invalid_rate,
        flip_rate=estimate_mean(flips, list(both), seed),
        first_wins=estimate_mean(first_wins, groups, seed),
    )


def _read_win(vote: Vote) -> float:
    """Return 1 where model_a has the higher score in a valid vote, 0.5 for a tie, else 0."""
    return float(score_wins(read_lead(vote)))


def control_length(votes: Sequence[Vote], leads: Mapping[str, int], seed: int) -> Estimate | None:
    """Estimate model_a's win rate if both answers had the same length (a tie is half a win).

    As in AlpacaEval 2 (Dubois et al. 2024), a logistic regression predicts the votes from an
    intercept and tanh(difference in length / its root mean square). The intercept alone gives the
    rate. Their term for the question's difficulty is left out; it needs many models' votes. Where
    length alone separates wins from losses, the rate depends on the lengths at hand, and the
    interval is too narrow.

    None without votes, or if all differences are the same: then no vote shows the effect of length.

    Args:
        votes: Valid ones.
        leads: Characters of model_a's answer - those of model_b's, by item_id.
        seed: Of the bootstrap, which draws questions and fits anew.
    """
    wins = defaultdict(list)
    for vote in votes:
        wins[vote["item_id"]].append(WINS[vote["verdict"]])
    lead = np.array([leads[item] for item in wins], dtype=float)
    if not wins or (len(set(lead)) == 1 and lead[0] != 0):
        return None
    feature = np.tanh(lead / (np.sqrt(np.mean(lead**2)) or 1))
    won = np.array([np.mean(each) for each in wins.values()])
    generator = np.random.default_rng(seed)
    drawn = generator.multinomial(len(wins), np.full(len(wins), 1 / len(wins)), size=DRAWS)
    counts = np.array([len(each) for each in wins.values()])
    rates = _fit_rates(feature, won, np.vstack([np.ones(len(wins)), drawn]) * counts)
    low, high = np.quantile(rates[1:], [0.025, 0.975])
    return Estimate(value=float(rates[0]), low=float(low), high=float(high))


def _fit_rates(feature: Floats, won: Floats, weights: Floats) -> Floats:
    """Fit a logistic regression for each row of weights; returns the rates at feature 0, (rows,).

    Newton's method with a ridge, as in `fit_surface_model`. `feature` and `won`, the share of
    model_a's wins, are (questions,), `weights` (rows, questions).
    """
    design = np.stack([np.ones_like(feature), feature])  # (2, questions)
    fit = np.zeros((len(weights), 2))
    for _ in range(NEWTON_STEPS):
        predicted = (1 + np.tanh(fit @ design / 2)) / 2
        gradient = (weights * (won - predicted)) @ design.T - RIDGE * fit
        spread = weights * predicted * (1 - predicted)
        curvature = np.einsum("rq,iq,jq->rij", spread, design, design) + RIDGE * np.eye(2)
        fit = fit + np.linalg.solve(curvature, gradient[:, :, None])[:, :, 0]
    rates: Floats = (1 + np.tanh(fit[:, 0] / 2)) / 2
    return rates
