"""Nodes of `rl`: a job from checkpoints and prompts, and its rollouts as rows."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from almost_kedro.checkpoints import (
    Checkpoint,
    as_model,
    check_same_base,
    check_same_data,
    check_same_tokenizer,
)
from almost_kedro.errors import UserError
from almost_kedro.evaluation import charts
from almost_kedro.feedback.policy_test import compare_policies
from almost_kedro.feedback.responses import build_question
from almost_kedro.feedback.reward_rows import separate
from almost_kedro.feedback.splits import digest_splits, select_some
from almost_kedro.json_lines import read_rows
from almost_kedro.models import resolve_model
from almost_kedro.options import GenerationOptions, Models, Rules
from almost_kedro.programs import PLAIN
from almost_kedro.rows import Prompt, row_id
from almost_kedro.training.client import digest_rows, train
from almost_kedro.training.job import TrainingJob
from almost_kedro.training_options import (
    GateOptions,
    LaunchOptions,
    PolicyTestOptions,
    RewardModelOptions,
    RLOptions,
    SFTOptions,
)
from almost_kedro.training_rows import PolicyAnswer, PromptSplit, Rollout

from ..reward_model.nodes import make_checkpoint
from ..rmsp_sft.nodes import check_judge
from ..rmsp_sft.policy_test import (
    answer_test_prompts,
    carry_gate,
    checkpoint_policy,
    make_judges,
    name_models,
)

logger = logging.getLogger(__name__)
SFT_REMEDY = "run `kedro run --pipeline rmsp_sft` with these options first"


def open_gate(gate_result: dict[str, Any], gate: GateOptions) -> dict[str, Any]:
    """Stop before reinforcement learning if the reward model is no better than the floors.

    Returns:
        The result, for what comes later to carry.

    Raises:
        UserError: Why the gate is closed, unless a warning is enough.
    """
    if not gate_result["passed"]:
        reasons = "; ".join(gate_result["reasons"])
        if gate.on_failure == "stop":
            raise UserError(
                f"gate not passed: {reasons}; get more comparisons, or set gate.on_failure: warn"
            )
        logger.warning("gate not passed, going on: %s", reasons, extra=PLAIN)
    return gate_result


def train_rl_policy(
    open_gate: dict[str, Any],
    prompts: list[Prompt],
    prompt_splits: list[PromptSplit],
    sft_policy: Checkpoint,
    reward_model_checkpoint: Checkpoint,
    held_out_reward_model_checkpoint: Checkpoint,
    models: Models,
    reward_model: RewardModelOptions,
    sft: SFTOptions,
    rl: RLOptions,
    launch: LaunchOptions,
    rules: Rules,
    seed: int,
    model_store: Path,
    accelerate_configs: Path,
    training_work: Path,
) -> tuple[Checkpoint, list[Rollout], dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Train the policy on prompts that neither reward model nor SFT saw.

    Returns:
        Checkpoint, rollouts, metrics, training curve and the watch's scores as a chart.
    """
    base = resolve_model(sft.model, models.root, model_store)
    check_same_base(sft_policy, base, SFT_REMEDY)
    check_same_data(sft_policy, "prompt_splits", digest_splits(prompt_splits), SFT_REMEDY)
    for checkpoint in (reward_model_checkpoint, held_out_reward_model_checkpoint):
        check_judge(checkpoint, prompt_splits, models, reward_model, model_store)
        remedy = "train reward model and policy from models with one tokenizer"
        check_same_tokenizer(checkpoint, sft_policy.folder, remedy)
    judge_bos = models.root[reward_model.model].bos
    rows, watch_rows = (
        [
            {"id": prompt["prompt_id"], "dialogue": build_question(prompt["text"], rules)}
            for prompt in select_some(prompts, prompt_splits, split)
        ]
        for split in ("rl", "watch")
    )
    job = TrainingJob(
        program="rl",
        name="rl_policy",
        base=as_model(sft_policy, base.bos),
        rows=training_work,
        rows_sha256="",
        reward_model=as_model(reward_model_checkpoint, judge_bos),
        held_out_reward_model=as_model(held_out_reward_model_checkpoint, judge_bos),
        reward_max_length=reward_model.max_length,
        options=rl,
        separator=separate(rules),
        rules=rules,
        seed=seed,
        launch=launch,
        accelerate=accelerate_configs / f"{launch.config}.yaml",
        out=training_work,
    )
    trained = train(job, rows, watch_rows)
    data = {"prompt_splits": digest_splits(prompt_splits), "prompts": digest_rows(rows)}
    checkpoint = make_checkpoint(trained, job, "policy", data)
    scores = list(read_rows(trained.folder / "watch.jsonl"))
    # Who wrote the rollouts, for `kedro trace`.
    writer = "sft_policy in training"
    metrics = {
        **trained.metrics,
        "rollout_model": writer,
        "models": {writer: {"fingerprint": job.base.fingerprint}},
    }
    return (
        checkpoint,
        read_rollouts(trained.folder),
        carry_gate(metrics, open_gate),
        charts.draw_training_curve(trained.curve, "RL policy"),
        charts.draw_training_curve(scores, "RL policy on the watch prompts"),
    )


def read_rollouts(folder: Path) -> list[Rollout]:
    """Read a program's rollouts as rows; they are named after the work they are of."""
    return [
        Rollout(
            rollout_id=row_id("rollout", folder.name, row["step"], row["prompt_id"], row["sample"]),
            prompt_id=row["prompt_id"],
            step=row["step"],
            sample=row["sample"],
            completion=row["completion"],
            finish_reason=row["finish_reason"],
            n_tokens=row["n_tokens"],
            reward=row["reward"],
            kl=row["kl"],
        )
        for row in read_rows(folder / "rollouts.jsonl")
    ]


def test_rl_policy(
    open_gate: dict[str, Any],
    prompts: list[Prompt],
    prompt_splits: list[PromptSplit],
    sft_policy: Checkpoint,
    rl_policy: Checkpoint,
    reward_model_checkpoint: Checkpoint,
    held_out_reward_model_checkpoint: Checkpoint,
    models: Models,
    generation: GenerationOptions,
    policy_test: PolicyTestOptions,
    reward_model: RewardModelOptions,
    sft: SFTOptions,
    launch: LaunchOptions,
    rules: Rules,
    seed: int,
    server_keys: Mapping[str, SecretStr],
    generation_work: Path,
    training_work: Path,
) -> tuple[list[PolicyAnswer], dict[str, Any]]:
    """Compare the RL policy with the SFT policy that it started from, on the test prompts.

    Returns:
        Their answers with rewards, and the comparison.
    """
    digest = digest_splits(prompt_splits)
    remedy = "run `kedro run --pipeline rl` with these options first"
    check_same_data(rl_policy, "prompt_splits", digest, remedy)
    checkpoints = (reward_model_checkpoint, held_out_reward_model_checkpoint)
    judges = make_judges(checkpoints, models, reward_model, launch, rules, training_work)
    bos = models.root[sft.model].bos
    policies = [checkpoint_policy("sft", sft_policy, bos), checkpoint_policy("rl", rl_policy, bos)]
    rows, costs = answer_test_prompts(
        policies,
        select_some(prompts, prompt_splits, "policy_test"),
        policy_test,
        generation,
        judges,
        rules,
        seed,
        generation_work,
        server_keys,
    )
    found = compare_policies(rows, [("rl", "sft")], seed)
    metrics = {**found, "models": name_models(policies), "cost": costs}
    return rows, carry_gate(metrics, open_gate)
