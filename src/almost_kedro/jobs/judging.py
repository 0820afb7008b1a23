"""Pairwise judging (rule 28): a reward model scores answers, or a model on servers reviews them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from almost_kedro.contract import LETTERS, Sampling
from almost_kedro.evaluation.judge import (
    build_judge_prompt,
    list_cases,
    votes_from_reviews,
    votes_from_rewards,
)
from almost_kedro.evaluation.judge_card import judge_card
from almost_kedro.evaluation.letter_judge import (
    MESSAGE,
    PLAIN,
    build_letter_prompt,
    build_letter_requests,
    list_pair_cases,
    measure_worth,
    votes_from_letters,
)
from almost_kedro.evaluation.stages import list_judged
from almost_kedro.generation.job import RequestGroup, ResponsesTask
from almost_kedro.generation.likelihood_job import LikelihoodJob
from almost_kedro.jobs.generate import read_answers, run_worker
from almost_kedro.jobs.likelihood import compute_logprobs
from almost_kedro.jobs.models import find_letter_judge, find_model
from almost_kedro.jobs.score import Scorer, score
from almost_kedro.options.all import Options
from almost_kedro.options.evaluation import HELD_OUT
from almost_kedro.options.models import ServerModel
from almost_kedro.processes.workplace import Workplace
from almost_kedro.rows.evaluation import JudgeVote, OpenAnswer, PairItem, Vote
from almost_kedro.rows.evaluation_metrics import JudgeCard, JudgeMetrics

logger = logging.getLogger(__name__)
# Constant, since nothing is drawn: with another seed, the run must not ask for reviews again.
SEED = 0
# Answers by model name and item_id.
Answers = Mapping[str, Mapping[str, OpenAnswer]]
# Votes, and who gave them.
Judged = tuple[list[Vote], JudgeMetrics]


def judge_by_rewards(dialogues: Mapping[str, str], answers: Answers, job: Scorer) -> Judged:
    """Let a reward model score each answer by itself: the higher reward wins."""
    rows = [
        {"id": row["answer_id"], "dialogue": dialogues[item], "answer": row["text"]}
        for found in answers.values()
        for item, row in found.items()
    ]
    scores, cost = score(job, rows)
    rewards = {
        model: {item: scores[row["answer_id"]] for item, row in found.items()}
        for model, found in answers.items()
    }
    pairs = list_judged(answers)
    return [vote for a, b in pairs for vote in votes_from_rewards(a, b, rewards)], {
        "judge": HELD_OUT,
        "description": "held-out reward model; it comes from the same synthetic rules",
        "models": {HELD_OUT: {"fingerprint": job.model.fingerprint}},
        "cost": cost,
    }


def judge_on_servers(
    questions: Mapping[str, str],
    answers: Answers,
    options: Options,
    workplace: Workplace,
) -> Judged:
    """Ask a model on servers about each question and pair of models, in both orders.

    The request cache keeps a review under the judge and the whole prompt, answers included. It
    keeps the review as written, so another way to read reviews asks nothing anew.
    """
    name = options.evaluation.judge
    entry = options.models.root[name]
    assert isinstance(entry, ServerModel)  # `options` refuses any other
    judge = find_model(name, options, workplace)
    cases = list_cases(list_judged(answers), questions, take_texts(answers), build_judge_prompt)
    prompts = [case.prompt for case in cases]
    sampling = Sampling(0.0, 1.0, options.evaluation.judge_max_new_tokens, seed=SEED)
    group = RequestGroup(name="reviews", prefix="", sampling=sampling, texts=prompts)
    folder, cost = run_worker(
        "reviews",
        judge,
        options.generation.on_servers(),
        ResponsesTask(groups=[group]),
        workplace.generation,
        workplace.keys,
    )
    reviews = [completion for _, completion in read_answers(folder / "answers_0.jsonl")]
    asked = "by chat" if entry.chat else "by completions"
    return votes_from_reviews(cases, reviews), {
        "judge": name,
        "description": f"{name} ({entry.id}@{entry.revision}, asked {asked})",
        "models": {
            name: {
                "fingerprint": judge.fingerprint,
                "id": entry.id,
                "revision": entry.revision,
                "chat": entry.chat,
            }
        },
        "cost": cost,
    }


def judge_by_letters(
    questions: Mapping[str, str],
    answers: Answers,
    items: Sequence[PairItem],
    options: Options,
    workplace: Workplace,
) -> Judged:
    """Let a model of this machine name the better answer by its letter, in both orders.

    An instruct model is asked by its chat template. The same questions about `items`, pairs whose
    better answer is known, say what its word is worth.
    """
    name = options.evaluation.judge
    judge = find_letter_judge(name, options, workplace)
    form = MESSAGE if judge.template else PLAIN
    cases = list_cases(list_judged(answers), questions, take_texts(answers), build_letter_prompt)
    requests = build_letter_requests([*cases, *list_pair_cases(items)], form)
    job = LikelihoodJob(
        model=judge,
        dtype=options.generation.dtype,
        replicas=options.generation.replicas,
        out=workplace.evaluation,
    )
    found, cost = compute_logprobs(job, requests)
    if n_cut := cost["rows_cut"]:
        logger.warning(
            "judge %s: %d of %d of its questions were too long and lost their beginning",
            *(name, n_cut // len(LETTERS), len(requests) // len(LETTERS)),
        )
    logprobs = {id_: each["logprob"] for id_, each in found.items()}
    asked = "by its chat template" if judge.template else "in plain text"
    return votes_from_letters(cases, logprobs), {
        "judge": name,
        "description": f"{name} (asked for a letter {asked})",
        "models": {name: {"fingerprint": judge.fingerprint}},
        "cost": cost,
        "worth": measure_worth(items, logprobs, options.seed),
    }


def warn_of_invalid_votes(votes: Sequence[Vote]) -> None:
    """Log how many of a judge's reviews could not be read, and why the first could not."""
    if invalid := [vote for vote in votes if not vote["valid"]]:
        logger.warning(
            "%d of %d votes of the judge are invalid, the first for this: %s",
            len(invalid),
            len(votes),
            invalid[0]["reason"],
        )


def take_texts(answers: Answers) -> dict[str, dict[str, str]]:
    """Return the texts of answers, by model and by item_id."""
    return {
        model: {item: row["text"] for item, row in found.items()}
        for model, found in answers.items()
    }


def make_cards(votes: list[Vote], answers: Answers, seed: int) -> dict[str, JudgeCard]:
    """Sum up the votes on each pair of models."""
    texts = take_texts(answers)
    cards = {}
    for a, b in list_judged(answers):
        found = [vote for vote in votes if (vote["model_a"], vote["model_b"]) == (a, b)]
        cards[f"{a}-vs-{b}"] = judge_card(found, texts, seed)
    return cards


def add_answers(votes: list[Vote], answers: Answers) -> list[JudgeVote]:
    """Return votes as rows, with an id and the ids of both answers."""
    return [
        JudgeVote(
            **vote,
            vote_id=f"{vote['model_a']}-vs-{vote['model_b']}/{vote['item_id']}/{vote['order']}",
            answer_a=answers[vote["model_a"]][vote["item_id"]]["answer_id"],
            answer_b=answers[vote["model_b"]][vote["item_id"]]["answer_id"],
        )
        for vote in votes
    ]
