"""Lets policies answer the test prompts and both reward models score the answers."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import SecretStr

from almost_kedro.checkpoints import Checkpoint, as_model
from almost_kedro.feedback.ledger import Rules
from almost_kedro.feedback.policy_test import (
    Completions,
    add_rewards,
    keep_answered,
    make_policy_answers,
)
from almost_kedro.feedback.responses import STOPS, build_question
from almost_kedro.generation.client import Asked, read_answers, run_workers
from almost_kedro.generation.engine import Completion, Sampling
from almost_kedro.generation.job import ModelFolder, RequestGroup, ResponsesTask
from almost_kedro.options import GenerationOptions, Models
from almost_kedro.rows import Prompt
from almost_kedro.training.client import score_by_all
from almost_kedro.training.job import ScoreJob
from almost_kedro.training_options import LaunchOptions, PolicyTestOptions, RewardModelOptions
from almost_kedro.training_rows import PolicyAnswer

from ..reward_model.nodes import make_score_job

logger = logging.getLogger(__name__)
Item = TypeVar("Item")


class Policy(NamedTuple):
    """A model that answers, with what stands before each question (demonstrations or nothing)."""

    name: str
    model: ModelFolder
    prefix: str = ""
    is_checkpoint: bool = False


def answer_test_prompts(
    policies: Sequence[Policy],
    prompts: Sequence[Prompt],
    options: PolicyTestOptions,
    generation: GenerationOptions,
    judges: tuple[ScoreJob, ScoreJob],
    rules: Rules,
    seed: int,
    work: Path,
    keys: Mapping[str, SecretStr],
) -> tuple[list[PolicyAnswer], dict[str, Any]]:
    """Let each policy answer each prompt once, and score the answers.

    Args:
        policies: Who answers.
        prompts: The test prompts.
        options: How they answer.
        generation: Engine; a checkpoint of ours is on no server, so it runs embedded instead.
        judges: Scoring by the reward model and by the held-out one.
        rules: Rule set.
        seed: Start of the random streams.
        work: Folder of the request cache and the jobs.
        keys: API keys of servers, by name.

    Returns:
        The answers, and what each job cost.
    """
    sampling = Sampling(
        options.temperature,
        options.top_p,
        options.max_new_tokens,
        STOPS if rules == "corrected" else (),
        seed,
    )
    questions = [build_question(prompt["text"], rules) for prompt in prompts]
    dialogues = {p["prompt_id"]: q for p, q in zip(prompts, questions, strict=True)}
    answers, costs = let_answer("test", policies, questions, sampling, generation, work, keys)
    prompts, answers = leave_out("test prompts", prompts, answers)
    rows = [
        row
        for policy in policies
        for row in make_policy_answers(prompts, policy.name, answers[policy.name], rules)
    ]
    texts = [
        {"id": row["answer_id"], "dialogue": dialogues[row["prompt_id"]], "answer": row["text"]}
        for row in rows
    ]
    (rewards, cost), (held_out, held_out_cost) = score_by_all(judges, texts)
    scoring = {"rewards": cost, "held_out_rewards": held_out_cost}
    return add_rewards(rows, rewards, held_out), {**costs, **scoring}


def let_answer(
    title: str,
    policies: Sequence[Policy],
    texts: list[str],
    sampling: Sampling,
    generation: GenerationOptions,
    work: Path,
    keys: Mapping[str, SecretStr],
) -> tuple[dict[str, list[tuple[str, Completion]]], dict[str, dict[str, float]]]:
    """Let each policy continue each text once; those that are one model do it in one job.

    The jobs share a process, unless vLLM does them.

    Args:
        title: What the jobs are called.
        policies: Who answers.
        texts: What is continued, after each policy's prefix.
        sampling: How.
        generation: Engine; a checkpoint of ours is on no server, so it runs embedded instead.
        work: Folder of the request cache and the jobs.
        keys: API keys of servers, by name.

    Returns:
        By policy, the request key and the completion of each text; and what each job cost, by the
        policies in it.
    """
    models: dict[tuple[str, str], list[Policy]] = {}
    for policy in policies:
        models.setdefault((policy.model.name, policy.model.fingerprint), []).append(policy)
    groups = {"+".join(policy.name for policy in group): group for group in models.values()}
    asked = [
        Asked(
            f"{title} {names}",
            group[0].model,
            embed(generation) if group[0].is_checkpoint else generation,
            ResponsesTask(
                groups=[
                    RequestGroup(
                        name=policy.name, prefix=policy.prefix, sampling=sampling, texts=texts
                    )
                    for policy in group
                ]
            ),
        )
        for names, group in groups.items()
    ]
    answers, costs = {}, {}
    for names, (folder, cost) in zip(groups, run_workers(asked, work, keys), strict=True):
        costs[names] = cost
        for number, policy in enumerate(groups[names]):
            answers[policy.name] = list(read_answers(folder / f"answers_{number}.jsonl"))
    return answers, costs


def leave_out(
    what: str, asked: Sequence[Item], answers: Completions
) -> tuple[list[Item], dict[str, list[tuple[str, Completion]]]]:
    """Leave out what was not answered for every policy (see `keep_answered`), and say so."""
    kept, completions = keep_answered(asked, answers)
    if n := len(asked) - len(kept):
        logger.warning("%d of %d %s are left out: servers did not answer", n, len(asked), what)
    return kept, completions


def embed(generation: GenerationOptions) -> GenerationOptions:
    """Return the options with an engine that runs a checkpoint of ours: servers have none."""
    if generation.engine != "openai":
        return generation
    return generation.model_copy(update={"engine": "embedded", "servers": []})


def checkpoint_policy(name: str, checkpoint: Checkpoint, bos: bool | None) -> Policy:
    """Return a checkpoint as a policy."""
    model = as_model(checkpoint, bos).model_copy(update={"name": name})
    return Policy(name, model, is_checkpoint=True)


def make_judges(
    checkpoints: tuple[Checkpoint, Checkpoint],
    models: Models,
    options: RewardModelOptions,
    launch: LaunchOptions,
    rules: Rules,
    work: Path,
) -> tuple[ScoreJob, ScoreJob]:
    """Describe scoring by the reward model and by the held-out one."""
    bos = models.root[options.model].bos
    first, second = (
        make_score_job(checkpoint, bos, options, launch, rules, work) for checkpoint in checkpoints
    )
    return first, second


def name_models(policies: Sequence[Policy]) -> dict[str, Any]:
    """Say which model each policy is; `kedro trace` reads it."""
    return {policy.name: {"fingerprint": policy.model.fingerprint} for policy in policies}


def carry_gate(metrics: dict[str, Any], gate: Mapping[str, Any]) -> dict[str, Any]:
    """Let figures say whether the gate was passed."""
    return {"gate_passed": gate["passed"], "gate_reasons": gate["reasons"], **metrics}
