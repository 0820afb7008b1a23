"""The node of pairwise judging (rule 28): a reward model, or a model on servers."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from almost_kedro.checkpoints import Checkpoint
from almost_kedro.evaluation.benchmarks import OpenItem
from almost_kedro.evaluation.judge import (
    Vote,
    list_cases,
    votes_from_reviews,
    votes_from_rewards,
)
from almost_kedro.evaluation.judge_card import judge_card
from almost_kedro.evaluation_options import HELD_OUT, EvaluationOptions
from almost_kedro.evaluation_rows import JudgeVote, OpenAnswer
from almost_kedro.feedback.responses import build_question
from almost_kedro.generation.client import read_answers, run_worker
from almost_kedro.generation.engine import Sampling
from almost_kedro.generation.job import RequestGroup, ResponsesTask
from almost_kedro.models import resolve_model
from almost_kedro.options import GenerationOptions, Models, Rules, ServerModel
from almost_kedro.training.client import score
from almost_kedro.training.job import ScoreJob
from almost_kedro.training_options import LaunchOptions, RewardModelOptions
from almost_kedro.training_rows import PromptSplit

from ..reward_model.nodes import make_score_job
from ..rmsp_sft.nodes import check_judge

logger = logging.getLogger(__name__)
# Whose wins are counted, and against whom.
PAIRS = (
    ("sft", "base"),
    ("rl", "sft"),
    ("rl", "base"),
    ("sft", "prompted"),
    ("rl", "prompted"),
    ("prompted", "base"),
)
# The seed is a constant, for nothing is drawn: another seed of the run must not ask about the same
# answers again.
SEED = 0
# A model's rows by item_id, by the model's name.
Answers = Mapping[str, Mapping[str, OpenAnswer]]
# Votes, and what goes with them into the cards' document.
Judged = tuple[list[Vote], dict[str, Any]]


def judge_answers(
    open_questions: list[OpenItem],
    open_answers: list[OpenAnswer],
    prompt_splits: list[PromptSplit],
    held_out_reward_model_checkpoint: Checkpoint,
    models: Models,
    reward_model: RewardModelOptions,
    launch: LaunchOptions,
    generation: GenerationOptions,
    evaluation: EvaluationOptions,
    rules: Rules,
    seed: int,
    model_store: Path,
    server_keys: Mapping[str, SecretStr],
    training_work: Path,
    generation_work: Path,
) -> tuple[list[JudgeVote], dict[str, Any]]:
    """Let the judge compare the answers of each pair of models.

    Returns:
        Votes; and who judged, a judge card a pair, and what it cost.
    """
    answers: dict[str, dict[str, OpenAnswer]] = {}
    for row in open_answers:
        answers.setdefault(row["policy"], {})[row["item_id"]] = row
    # What a server refused for one model is answered by none.
    answered = next(iter(answers.values()))
    questions = {
        item["item_id"]: item["question"] for item in open_questions if item["item_id"] in answered
    }
    if evaluation.judge == HELD_OUT:
        judge = held_out_reward_model_checkpoint
        check_judge(judge, prompt_splits, models, reward_model, model_store)
        bos = models.root[reward_model.model].bos
        job = make_score_job(judge, bos, reward_model, launch, rules, training_work)
        dialogues = {item: build_question(text, rules) for item, text in questions.items()}
        votes, about = judge_by_rewards(dialogues, answers, job)
    else:
        votes, about = judge_on_servers(
            questions,
            answers,
            evaluation,
            models,
            generation,
            model_store,
            server_keys,
            generation_work,
        )
        warn_of_invalid_votes(votes)
    return add_answers(votes, answers), {**about, "cards": make_cards(votes, answers, seed)}


def judge_by_rewards(dialogues: Mapping[str, str], answers: Answers, job: ScoreJob) -> Judged:
    """Let a reward model score each answer by itself: the higher reward wins.

    Args:
        dialogues: What was asked, by item_id.
        answers: What is judged.
        job: Scoring by the reward model.
    """
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
    return [vote for a, b in PAIRS for vote in votes_from_rewards(a, b, rewards)], {
        "judge": HELD_OUT,
        "description": "held-out reward model; it comes from the same synthetic rules",
        "models": {HELD_OUT: {"fingerprint": job.model.fingerprint}},
        "cost": cost,
    }


def judge_on_servers(
    questions: Mapping[str, str],
    answers: Answers,
    evaluation: EvaluationOptions,
    models: Models,
    generation: GenerationOptions,
    model_store: Path,
    server_keys: Mapping[str, SecretStr],
    work: Path,
) -> Judged:
    """Ask a model on servers about each question and pair of models, in both orders.

    A review is kept in the request cache under the judge and the whole prompt, answers included.
    It is kept as it was written, so another way to read reviews asks nothing anew.

    Args:
        questions: By item_id.
        answers: What is judged.
        evaluation: Who judges, and how much it may write.
        models: The entries of models.yml.
        generation: The servers.
        model_store: Folder of models.
        server_keys: API keys of servers, by name.
        work: Folder of the request cache and the jobs.
    """
    name = evaluation.judge
    entry = models.root[name]
    assert isinstance(entry, ServerModel)  # `options` refuses any other
    judge = resolve_model(name, models.root, model_store)
    cases = list_cases(PAIRS, questions, take_texts(answers))
    prompts = [case.prompt for case in cases]
    sampling = Sampling(0.0, 1.0, evaluation.judge_max_new_tokens, seed=SEED)
    group = RequestGroup(name="reviews", prefix="", sampling=sampling, texts=prompts)
    folder, cost = run_worker(
        "reviews",
        judge,
        generation.on_servers(),
        ResponsesTask(groups=[group]),
        work,
        server_keys,
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


def warn_of_invalid_votes(votes: Sequence[Vote]) -> None:
    """Say how many of a judge's reviews could not be read, and why the first of them."""
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


def make_cards(votes: list[Vote], answers: Answers, seed: int) -> dict[str, Any]:
    """Sum up the votes on each pair of models."""
    texts = take_texts(answers)
    cards = {}
    for a, b in PAIRS:
        found = [vote for vote in votes if (vote["model_a"], vote["model_b"]) == (a, b)]
        cards[f"{a}-vs-{b}"] = judge_card(found, texts, seed)
    return cards


def add_answers(votes: list[Vote], answers: Answers) -> list[JudgeVote]:
    """Make rows of votes: with an id, and the ids of the answers."""
    return [
        JudgeVote(
            **vote,
            vote_id=f"{vote['model_a']}-vs-{vote['model_b']}/{vote['item_id']}/{vote['order']}",
            answer_a=answers[vote["model_a"]][vote["item_id"]]["answer_id"],
            answer_b=answers[vote["model_b"]][vote["item_id"]]["answer_id"],
        )
        for vote in votes
    ]
