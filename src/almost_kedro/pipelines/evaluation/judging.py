"""The node of pairwise judging (rule 28): a reward model, a model of this machine or of servers."""

from __future__ import annotations

from almost_kedro.feedback.responses import build_question
from almost_kedro.jobs.judging import (
    add_answers,
    judge_by_letters,
    judge_by_rewards,
    judge_on_servers,
    make_cards,
    warn_of_invalid_votes,
)
from almost_kedro.jobs.reward_models import check_judge, make_score_job
from almost_kedro.models.checkpoints import Checkpoint
from almost_kedro.options.all import Options
from almost_kedro.processes.workplace import Workplace
from almost_kedro.rows.evaluation import JudgeVote, OpenAnswer, OpenItem, PairItem
from almost_kedro.rows.evaluation_metrics import JudgeCards
from almost_kedro.rows.training import PromptSplit


def judge_answers(
    open_questions: list[OpenItem],
    open_answers: list[OpenAnswer],
    hhh_items: list[PairItem],
    prompt_splits: list[PromptSplit],
    held_out_reward_model: Checkpoint,
    options: Options,
    workplace: Workplace,
) -> tuple[list[JudgeVote], JudgeCards]:
    """Let the judge compare the answers of each pair of models.

    Returns the votes; and who judged, a judge card for each pair, and the cost.
    """
    answers: dict[str, dict[str, OpenAnswer]] = {}
    for row in open_answers:
        answers.setdefault(row["policy"], {})[row["item_id"]] = row
    # If a server refused a question for one model, `open_answers` has it for no model.
    answered = next(iter(answers.values()))
    questions = {
        item["item_id"]: item["question"] for item in open_questions if item["item_id"] in answered
    }
    if options.judge_kind == "rewards":
        judge = held_out_reward_model
        check_judge(judge, prompt_splits, options, workplace)
        job = make_score_job(judge, options, workplace)
        dialogues = {item: build_question(text, options.rules) for item, text in questions.items()}
        votes, about = judge_by_rewards(dialogues, answers, job)
    elif options.judge_kind == "reviews":
        votes, about = judge_on_servers(questions, answers, options, workplace)
        warn_of_invalid_votes(votes)
    else:
        votes, about = judge_by_letters(questions, answers, hhh_items, options, workplace)
    return add_answers(votes, answers), {**about, "cards": make_cards(votes, answers, options.seed)}
