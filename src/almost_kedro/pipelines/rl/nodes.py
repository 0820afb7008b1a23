"""Nodes of `rl`: a job from checkpoints and prompts, and its rollouts as rows."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from almost_kedro.charts import training as charts
from almost_kedro.charts.style import Plot
from almost_kedro.contract import row_id
from almost_kedro.errors import UserError
from almost_kedro.evaluation.gate import carry_gate
from almost_kedro.evaluation.policy_rewards import compare_policies
from almost_kedro.evaluation.stages import RL, SFT
from almost_kedro.feedback.reward_rows import choose_separator
from almost_kedro.feedback.splits import digest_splits, list_dialogues, require_prompts
from almost_kedro.jobs.models import find_trainee
from almost_kedro.jobs.policies import (
    answer_test_prompts,
    checkpoint_policy,
    describe_test,
    name_models,
)
from almost_kedro.jobs.reward_models import check_judge, check_members, find_members, make_judges
from almost_kedro.jobs.row_files import digest_rows
from almost_kedro.jobs.train import make_checkpoint, run_training
from almost_kedro.models.checkpoints import (
    Checkpoint,
    as_model,
    check_same_base,
    check_same_data,
    check_same_tokenizer,
)
from almost_kedro.options.all import Options
from almost_kedro.options.reward_model import GateOptions
from almost_kedro.processes.run import PLAIN
from almost_kedro.processes.workplace import Workplace
from almost_kedro.rows.feedback import Prompt
from almost_kedro.rows.json_lines import read_rows
from almost_kedro.rows.metrics import GateResult, PolicyMetrics
from almost_kedro.rows.training import PolicyAnswer, PromptSplit, Rollout
from almost_kedro.training.job import TrainingJob

logger = logging.getLogger(__name__)


def open_gate(gate: GateResult, gate_options: GateOptions) -> GateResult:
    """Stop before reinforcement learning if the reward model is no better than the floors.

    Raises UserError with the reasons; only warns if gate.on_failure is "warn". Returns the result,
    which later metrics carry.
    """
    if not gate["passed"]:
        reasons = "; ".join(gate["reasons"])
        if gate_options.on_failure == "stop":
            raise UserError(
                f"gate not passed: {reasons}; get more comparisons, or set gate.on_failure: warn"
            )
        logger.warning("gate not passed, going on: %s", reasons, extra=PLAIN)
    return gate


def train_rl_policy(
    rl_gate: GateResult,
    prompts: list[Prompt],
    prompt_splits: list[PromptSplit],
    sft_policy: Checkpoint,
    reward_model: Checkpoint,
    held_out_reward_model: Checkpoint,
    options: Options,
    workplace: Workplace,
) -> tuple[Checkpoint, list[Rollout], dict[str, Any], Plot, Plot]:
    """Train the policy on prompts that neither reward model nor SFT saw.

    Returns checkpoint, rollouts, metrics, the training curve and a chart of the watch's scores.
    """
    base = find_trainee(options.sft.model, options, workplace)
    check_same_base(sft_policy, base, SFT.how_to_train)
    check_same_data(sft_policy, "prompt_splits", digest_splits(prompt_splits), SFT.how_to_train)
    check_members(reward_model, options)
    for checkpoint in (reward_model, held_out_reward_model):
        check_judge(checkpoint, prompt_splits, options, workplace)
        remedy = "train reward model and policy from models with one tokenizer"
        check_same_tokenizer(checkpoint, sft_policy.folder, remedy)
    judge_bos = options.models.root[options.reward_model.model].bos
    rows = list_dialogues(prompts, prompt_splits, "rl", options.rules)
    watch_rows = list_dialogues(prompts, prompt_splits, "watch", options.rules)
    job = TrainingJob(
        program="rl",
        name="rl_policy",
        base=as_model(sft_policy, base.bos),
        rows=workplace.training,
        rows_sha256="",
        reward_model=as_model(reward_model, judge_bos),
        members=find_members(reward_model, options),
        held_out_reward_model=as_model(held_out_reward_model, judge_bos),
        reward_max_length=options.reward_model.max_length,
        options=options.rl,
        separator=choose_separator(options.rules),
        rules=options.rules,
        seed=options.seed,
        launch=options.launch,
        accelerate=workplace.accelerate / f"{options.launch.config}.yaml",
        out=workplace.training,
    )
    trained = run_training(job, rows, watch_rows)
    data = {"prompt_splits": digest_splits(prompt_splits), "prompts": digest_rows(rows)}
    checkpoint = make_checkpoint(trained, job, "policy", data)
    scores = list(read_rows(trained.folder / "watch.jsonl"))
    # Who wrote the rollouts, for `kedro trace`.
    writer = "sft_policy in training"
    metrics = {
        **carry_gate(rl_gate),
        **trained.metrics,
        "rollout_model": writer,
        "models": {writer: {"fingerprint": job.base.fingerprint}},
    }
    return (
        checkpoint,
        read_rollouts(trained.folder),
        metrics,
        charts.draw_training_curve(trained.curve, "RL policy"),
        charts.draw_training_curve(scores, "RL policy on the watch prompts"),
    )


def read_rollouts(folder: Path) -> list[Rollout]:
    """Read a program's rollouts as rows; their ids depend on the name of its work folder."""
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
    rl_gate: GateResult,
    prompts: list[Prompt],
    prompt_splits: list[PromptSplit],
    sft_policy: Checkpoint,
    rl_policy: Checkpoint,
    reward_model: Checkpoint,
    held_out_reward_model: Checkpoint,
    options: Options,
    workplace: Workplace,
) -> tuple[list[PolicyAnswer], PolicyMetrics]:
    """Compare the RL policy with the SFT policy that it started from, on the test prompts."""
    check_same_data(rl_policy, "prompt_splits", digest_splits(prompt_splits), RL.how_to_train)
    checkpoints = (reward_model, held_out_reward_model)
    judges = make_judges(checkpoints, options, workplace)
    bos = options.models.root[options.sft.model].bos
    policies = [
        checkpoint_policy(SFT.name, sft_policy, bos),
        checkpoint_policy(RL.name, rl_policy, bos),
    ]
    rows, costs = answer_test_prompts(
        policies, require_prompts(prompts, prompt_splits, "policy_test"), judges, options, workplace
    )
    found = compare_policies(rows, RL.pair_with(RL.tested_with), options.seed)
    return rows, {
        **carry_gate(rl_gate),
        **found,
        "models": name_models(policies),
        "test": describe_test(judges, options),
        "cost": costs,
    }
