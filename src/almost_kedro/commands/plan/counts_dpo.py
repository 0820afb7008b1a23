"""What the pipeline `dpo` has to do, which no whole run includes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import ceil

from almost_kedro.commands.plan.counts import count_answers, score_test
from almost_kedro.commands.plan.inputs import PlanInputs
from almost_kedro.commands.plan.workload import Ask, Work
from almost_kedro.evaluation.stages import BEST_OF_N, DPO


def count_dpo(inputs: PlanInputs) -> Iterator[Work]:
    """Return the base's log-probabilities, the training with its watch, and the test."""
    options, base, compared = inputs.options.dpo, inputs.options.sft.model, inputs.compared
    pairs = inputs.kept_pairs("reward_model")
    step, tokens = "dpo_policy_training", 2 * pairs * min(compared, options.max_length)
    # What both texts of a pair begin with is read once.
    read = tokens - pairs * min(inputs.prompt, options.max_length)
    yield Work(step, "reference", base, "likelihood", requests=2 * pairs, forward_tokens=read)
    answer = max(each["max_new_tokens"] for each in inputs.assistants)
    training = inputs.train(
        step, "", options, pairs, tokens, inputs.longest_prompt + answer, answer
    )
    assert training.training
    limit = options.watch.max_new_tokens
    scores = 1 + ceil(training.training.steps / options.watch.every)
    new, watched = inputs.assumed.rollout_length * limit, scores * inputs.splits["watch"]
    yield replace(
        training,
        asks=(Ask(watched, 0, inputs.prompt, new, limit, calls=scores),),
        forward_tokens=watched * (inputs.prompt + new + 1),
    )
    yield from count_dpo_test(inputs)


def count_dpo_test(inputs: PlanInputs) -> Iterator[Work]:
    """Return the test of base model, best assistant, DPO policy, and best of n.

    The first of the n answers is that of the best assistant.
    """
    step, rows = DPO.policy, inputs.splits["policy_test"]
    limit, n = inputs.options.policy_test.max_new_tokens, inputs.options.self_play.candidates
    yield from count_answers(inputs, step, rows, inputs.prompt, limit, DPO.name)
    yield from score_test(inputs, step, 3 * rows, limit)
    asks = (inputs.ask_best((n - 1) * rows, inputs.prompt, limit),)
    yield Work(step, BEST_OF_N, inputs.best["model"], "generate", n * rows, asks)
    yield from score_test(inputs, step, n * rows, limit, f"{BEST_OF_N} ")
