"""Counts of `evaluation`: HHH and MC1, open questions, and their judge."""

from __future__ import annotations

from almost_kedro.evaluation_options import HELD_OUT
from almost_kedro.plan.policy_counts import count_answers
from almost_kedro.plan.setting import Setting
from almost_kedro.plan.work import Ask, Work

# As `pipelines.evaluation.judging` has them: pairs of models, and tokens of a review at most.
PAIRS, ORDERS, REVIEW = 6, 2, 300
POLICIES = ("base", "prompted", "sft", "rl")


def count_evaluation(setting: Setting, n_questions: int, n_pairs: float) -> list[Work]:
    """Return benchmarks of policies and of reward models, open questions, and judging.

    Args:
        setting: What all counts start from.
        n_questions: Open questions.
        n_pairs: Pairs of static HHH.
    """
    options, lengths = setting.options, setting.lengths
    limit = options.evaluation.max_new_tokens
    own = count_answers(setting, "evaluation", "open_answers", n_questions, lengths.question, limit)
    plain = setting.answer(n_questions, lengths.question, limit)
    return [
        *(count_likelihood(setting, name) for name in POLICIES),
        *(
            setting.score("evaluation", "reward_verdicts", name, 2 * n_pairs, lengths.rewarded)
            for name in ("reward_model", "held_out_reward_model")
        ),
        *own,
        Work(
            "evaluation",
            "open_answers",
            "rl",
            options.sft.model,
            "generate",
            requests=n_questions,
            asks=(plain,),
        ),
        count_judging(setting, n_questions, limit),
    ]


def count_likelihood(setting: Setting, name: str) -> Work:
    """Return what HHH and MC1 ask of a policy; the best assistant sees its demonstrations first."""
    prompted = name == "prompted"
    lengths = setting.lengths
    prefix = lengths.prefixes[setting.best["name"]] if prompted else 0
    return Work(
        pipeline="evaluation",
        step="policy_verdicts",
        program=name,
        model=setting.best["model"] if prompted else setting.options.sft.model,
        kind="likelihood",
        requests=lengths.logprobs,
        asks=(Ask(0, prefix, 0, 0, 1),) if prefix else (),
        forward_tokens=lengths.asked,
    )


def count_judging(setting: Setting, n_questions: int, limit: int) -> Work:
    """Return the judging: a reward an answer, or a review of each pair of them in both orders."""
    answer = setting.assumptions.policy_length * limit
    judge, question = setting.options.evaluation.judge, setting.lengths.question
    if judge == HELD_OUT:
        rows = len(POLICIES) * n_questions
        return setting.score("evaluation", "judge_cards", "", rows, question + answer + 1)
    requests = n_questions * PAIRS * ORDERS
    new = setting.assumptions.review_length * REVIEW
    ask = Ask(requests, 0, question + 2 * answer, new, REVIEW)
    return Work(
        pipeline="evaluation",
        step="judge_cards",
        program="",
        model=judge,
        kind="generate",
        requests=requests,
        asks=(ask,),
    )
