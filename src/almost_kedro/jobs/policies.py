"""Lets policies answer the test prompts and both reward models score the answers."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeVar

from almost_kedro.contract import Completion, ModelFolder, Sampling
from almost_kedro.errors import UserError
from almost_kedro.evaluation.policy_rewards import (
    Completions,
    add_rewards,
    keep_answered,
    make_policy_answers,
)
from almost_kedro.evaluation.stages import APART, BASE, BEST_OF_N, PROMPTED, STAGES, Stage
from almost_kedro.feedback.planning import find_best_assistant
from almost_kedro.feedback.responses import build_question, response_sampling
from almost_kedro.feedback.splits import digest_splits
from almost_kedro.generation.job import RequestGroup, ResponsesTask
from almost_kedro.jobs.generate import Asked, read_answers, run_workers
from almost_kedro.jobs.models import find_model, find_trainee
from almost_kedro.jobs.score import Scorer, score_by_all
from almost_kedro.models.checkpoints import (
    Checkpoint,
    as_model,
    check_same_base,
    check_same_data,
    check_same_options,
)
from almost_kedro.options.all import Options
from almost_kedro.options.generation import GenerationOptions
from almost_kedro.processes.workplace import Workplace
from almost_kedro.rows.feedback import Assistant, Prompt
from almost_kedro.rows.metrics import Models, PolicyTest, ProgramMetrics
from almost_kedro.rows.training import PolicyAnswer, PromptSplit

logger = logging.getLogger(__name__)
Item = TypeVar("Item")


class Policy(NamedTuple):
    """A model that answers, and the text before each question (demonstrations or nothing)."""

    name: str
    model: ModelFolder
    prefix: str = ""
    is_checkpoint: bool = False


def answer_test_prompts(
    policies: Sequence[Policy],
    prompts: Sequence[Prompt],
    judges: tuple[Scorer, Scorer],
    options: Options,
    workplace: Workplace,
) -> tuple[list[PolicyAnswer], dict[str, ProgramMetrics]]:
    """Let each policy answer each prompt once, and score the answers.

    `judges` score with the reward model and with the held-out one. Returns answers and job costs.
    """
    rules, test = options.rules, options.policy_test
    sampling = response_sampling(test, test.max_new_tokens, rules, options.seed)
    questions = [build_question(prompt["text"], rules) for prompt in prompts]
    dialogues = {p["prompt_id"]: q for p, q in zip(prompts, questions, strict=True)}
    answers, costs = let_answer(
        "test", policies, questions, sampling, options.generation, workplace
    )
    prompts, answers = leave_out("test prompts", prompts, answers)
    rows = [
        row
        for policy in policies
        for row in make_policy_answers(prompts, policy.name, answers[policy.name], rules)
    ]
    rows, scoring = reward_answers(rows, dialogues, judges)
    return rows, {**costs, **scoring}


def reward_answers(
    rows: Sequence[PolicyAnswer],
    dialogues: Mapping[str, str],
    judges: tuple[Scorer, Scorer],
    of: str = "",
) -> tuple[list[PolicyAnswer], dict[str, ProgramMetrics]]:
    """Score answers; `dialogues` are by prompt_id, and `of` begins the names of the costs."""
    texts = [
        {"id": row["answer_id"], "dialogue": dialogues[row["prompt_id"]], "answer": row["text"]}
        for row in rows
    ]
    (rewards, cost), (held_out, held_out_cost) = score_by_all(judges, texts)
    scoring = {f"{of}rewards": cost, f"{of}held_out_rewards": held_out_cost}
    return add_rewards(rows, rewards, held_out), scoring


def answer_by_best(
    policy: Policy,
    n: int,
    prompts: Sequence[Prompt],
    judges: tuple[Scorer, Scorer],
    options: Options,
    workplace: Workplace,
) -> tuple[list[PolicyAnswer], dict[str, ProgramMetrics]]:
    """Let a policy answer each prompt n times, and keep the answer of the highest reward.

    The rewards are those of the first judge; of equal ones the first counts. The rows' policy is
    `BEST_OF_N`. Prompts that a server did not answer are left out. Returns answers and job costs.
    """
    rules, test = options.rules, options.policy_test
    sampling = response_sampling(test, test.max_new_tokens, rules, options.seed)
    named = policy._replace(name=BEST_OF_N)
    asked = [prompt for prompt in prompts for _ in range(n)]
    questions = [build_question(prompt["text"], rules) for prompt in prompts]
    found, costs = let_answer(
        "best of n", [named], questions, sampling, options.generation, workplace, n
    )
    asked, found = leave_out("answers to choose from", asked, found)
    rows = make_policy_answers(asked, BEST_OF_N, found[BEST_OF_N], rules)
    dialogues = {p["prompt_id"]: q for p, q in zip(prompts, questions, strict=True)}
    rows, scoring = reward_answers(rows, dialogues, judges, f"{BEST_OF_N} ")
    best: dict[str, PolicyAnswer] = {}
    for row in rows:
        kept = best.setdefault(row["prompt_id"], row)
        if row["reward"] > kept["reward"]:
            best[row["prompt_id"]] = row
    return list(best.values()), {**costs, **scoring}


def let_answer(
    title: str,
    policies: Sequence[Policy],
    texts: list[str],
    sampling: Sampling,
    generation: GenerationOptions,
    workplace: Workplace,
    samples: int = 1,
) -> tuple[dict[str, list[tuple[str, Completion]]], dict[str, ProgramMetrics]]:
    """Let each policy continue each text, `samples` times; policies of one model share a job.

    The jobs share a process, unless vLLM runs them. `title` names the jobs. No server has a
    checkpoint of ours, so it runs embedded instead.

    Returns:
        By policy, the request key and the completion of each text, all samples of a text before the
        next text's. By job, named after its policies ("base+prompted"), the cost.
    """
    models: dict[tuple[str, str, str | None], list[Policy]] = {}
    for policy in policies:
        model = policy.model
        models.setdefault((model.name, model.fingerprint, model.template), []).append(policy)
    groups = {"+".join(policy.name for policy in group): group for group in models.values()}
    asked = [
        Asked(
            f"{title} {names}",
            group[0].model,
            choose_engine(group[0], generation),
            ResponsesTask(
                groups=[
                    RequestGroup(
                        name=policy.name,
                        prefix=policy.prefix,
                        sampling=sampling,
                        texts=texts,
                        samples=samples,
                    )
                    for policy in group
                ]
            ),
        )
        for names, group in groups.items()
    ]
    found = run_workers(asked, workplace.generation, workplace.keys)
    answers, costs = {}, {}
    for names, (folder, cost) in zip(groups, found, strict=True):
        costs[names] = cost
        for number, policy in enumerate(groups[names]):
            answers[policy.name] = list(read_answers(folder / f"answers_{number}.jsonl"))
    return answers, costs


def leave_out(
    what: str, asked: Sequence[Item], answers: Completions
) -> tuple[list[Item], dict[str, list[tuple[str, Completion]]]]:
    """Leave out what was not answered for every policy (see `keep_answered`), and log it."""
    kept, completions = keep_answered(asked, answers)
    if n := len(asked) - len(kept):
        logger.warning("%d of %d %s are left out: servers did not answer", n, len(asked), what)
    return kept, completions


def choose_engine(policy: Policy, generation: GenerationOptions) -> GenerationOptions:
    """Return options that run embedded what servers can't answer as we ask.

    No server has a checkpoint of ours. A model's own template is ours to fill in.
    """
    if generation.engine != "openai" or not (policy.is_checkpoint or policy.model.template):
        return generation
    return generation.model_copy(update={"engine": "embedded", "servers": []})


def checkpoint_policy(name: str, checkpoint: Checkpoint, bos: bool | None) -> Policy:
    """Return a checkpoint as a policy."""
    model = as_model(checkpoint, bos).model_copy(update={"name": name})
    return Policy(name, model, is_checkpoint=True)


def name_models(policies: Sequence[Policy]) -> Models:
    """Return the fingerprint of each policy's model; `kedro trace` reads it."""
    return {policy.name: {"fingerprint": policy.model.fingerprint} for policy in policies}


def describe_test(judges: tuple[Scorer, Scorer], options: Options) -> PolicyTest:
    """Return what the answers to the test prompts are sampled and scored with."""
    reward_model, held_out = (judge.model.fingerprint for judge in judges)
    return PolicyTest(
        reward_model=reward_model,
        held_out_reward_model=held_out,
        options=options.policy_test.model_dump(mode="json"),
        rules=options.rules,
        seed=options.seed,
    )


def find_prompted(assistants: list[Assistant], options: Options, workplace: Workplace) -> Policy:
    """Return the best assistant as a policy: a model with its demonstrations."""
    best = find_best_assistant(assistants, options.comparisons)
    return Policy(PROMPTED, find_model(best["model"], options, workplace), best["prefix"])


def list_policies(
    checkpoints: Mapping[str, Checkpoint | None],
    prompt_splits: list[PromptSplit],
    assistants: list[Assistant],
    options: Options,
    workplace: Workplace,
) -> list[Policy]:
    """Return base model, best assistant ("prompted"), and the policy of each stage.

    `checkpoints` are by dataset name. A policy of `APART` is left out where there is none, or where
    it does not fit this run (see `find_misfits`). Raises UserError if one of the chain was not
    trained from the one before, or if it was trained with other prompt splits.
    """
    base = find_trainee(options.sft.model, options, workplace)
    digest = digest_splits(prompt_splits)
    models, stages = {BASE: base}, list[Stage]()
    for stage in STAGES:
        checkpoint = checkpoints[stage.policy]
        assert checkpoint
        check_same_base(checkpoint, models[stage.base], stage.how_to_train)
        check_same_data(checkpoint, "prompt_splits", digest, stage.how_to_train)
        models[stage.name] = as_model(checkpoint, base.bos)
        stages.append(stage)
    misfits = find_misfits(checkpoints, prompt_splits, options, workplace)
    stages += [stage for stage in APART if checkpoints[stage.policy] and stage.name not in misfits]
    return [
        Policy(BASE, base),
        find_prompted(assistants, options, workplace),
        *(
            checkpoint_policy(stage.name, checkpoint, base.bos)
            for stage in stages
            if (checkpoint := checkpoints[stage.policy])
        ),
    ]


def find_misfits(
    checkpoints: Mapping[str, Checkpoint | None],
    prompt_splits: list[PromptSplit],
    options: Options,
    workplace: Workplace,
) -> dict[str, str]:
    """Return, by stage, why a policy of `APART` does not fit this run, and how to train it anew.

    It was trained from another base, with other prompt splits or options, or on other comparisons
    than the reward model, which is among the checkpoints.
    """
    base = find_trainee(options.sft.model, options, workplace)
    reward_model = checkpoints["reward_model"]
    assert reward_model
    data = {
        "prompt_splits": digest_splits(prompt_splits),
        "comparisons": reward_model.manifest["data"]["comparisons"],
    }
    misfits = {}
    for stage in APART:
        if not (checkpoint := checkpoints[stage.policy]):
            continue
        given = {**getattr(options, stage.name).model_dump(mode="json"), "seed": options.seed}
        try:
            check_same_base(checkpoint, base, stage.how_to_train)
            for what, digest in data.items():
                check_same_data(checkpoint, what, digest, stage.how_to_train)
            check_same_options(checkpoint, given, stage.how_to_train)
        except UserError as exc:
            misfits[stage.name] = str(exc)
    return misfits
