"""Lets policies answer the test prompts and both reward models score the answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import SecretStr

from almost_kedro.checkpoints import Checkpoint, as_model
from almost_kedro.feedback.ledger import Rules
from almost_kedro.feedback.policy_test import add_rewards, make_policy_answers
from almost_kedro.feedback.responses import STOPS, build_question
from almost_kedro.generation.client import read_answers, run_worker
from almost_kedro.generation.engine import Sampling
from almost_kedro.generation.job import ModelFolder, RequestGroup, ResponsesTask
from almost_kedro.options import GenerationOptions, Models
from almost_kedro.rows import Prompt
from almost_kedro.training.client import score
from almost_kedro.training.job import ScoreJob
from almost_kedro.training_options import LaunchOptions, PolicyTestOptions, RewardModelOptions
from almost_kedro.training_rows import PolicyAnswer

from ..reward_model.nodes import make_score_job


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
) -> list[PolicyAnswer]:
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
    """
    sampling = Sampling(
        options.temperature,
        options.top_p,
        options.max_new_tokens,
        STOPS if rules == "corrected" else (),
        seed,
    )
    questions = [build_question(prompt["text"], rules) for prompt in prompts]
    rows: list[PolicyAnswer] = []
    for policy in policies:
        group = RequestGroup(
            name=policy.name, prefix=policy.prefix, sampling=sampling, texts=questions
        )
        folder, _ = run_worker(
            f"test {policy.name}",
            policy.model,
            embed(generation) if policy.is_checkpoint else generation,
            ResponsesTask(groups=[group]),
            work,
            keys,
        )
        answers = read_answers(folder / "answers_0.jsonl")
        rows += make_policy_answers(prompts, policy.name, answers, rules)
    dialogues = {p["prompt_id"]: q for p, q in zip(prompts, questions, strict=True)}
    texts = [
        {"id": row["answer_id"], "dialogue": dialogues[row["prompt_id"]], "answer": row["text"]}
        for row in rows
    ]
    rewards, held_out = (score(judge, texts)[0] for judge in judges)
    return add_rewards(rows, rewards, held_out)


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
