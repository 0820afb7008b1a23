"""Nodes of `rmsp_sft`: dialogues in turns of generation and scoring, then fine-tuning."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from almost_kedro.checkpoints import Checkpoint, check_same_base, check_same_data
from almost_kedro.errors import UserError
from almost_kedro.evaluation import charts
from almost_kedro.evaluation_options import EvaluationOptions
from almost_kedro.evaluation_rows import ContaminationRow
from almost_kedro.feedback.best_of_n import best_of_n_curve, summarise_self_play
from almost_kedro.feedback.decontamination import drop_overlapping
from almost_kedro.feedback.ledger import summarise_ledger
from almost_kedro.feedback.policy_test import compare_policies
from almost_kedro.feedback.reward_rows import separate
from almost_kedro.feedback.self_play import make_demonstrations
from almost_kedro.feedback.splits import digest_splits, select_some
from almost_kedro.models import resolve_model
from almost_kedro.options import ComparisonOptions, GenerationOptions, Models, Rules
from almost_kedro.rows import Assistant, LedgerRow, Prompt
from almost_kedro.training.client import digest_rows, train
from almost_kedro.training.job import TrainingJob
from almost_kedro.training_options import (
    LaunchOptions,
    PolicyTestOptions,
    RewardModelOptions,
    SelfPlayOptions,
    SFTOptions,
)
from almost_kedro.training_rows import Candidate, Demonstration, PolicyAnswer, PromptSplit

from ..early_checks import find_best_assistant
from ..reward_model.nodes import REMEDY, make_checkpoint
from .policy_test import (
    Policy,
    answer_test_prompts,
    carry_gate,
    checkpoint_policy,
    make_judges,
    name_models,
)
from .self_play import Player, play_dialogues

ServerKeys = Mapping[str, SecretStr]


def play(
    self_play_plan: dict[str, Any],
    prompts: list[Prompt],
    prompt_splits: list[PromptSplit],
    assistants: list[Assistant],
    reward_model_checkpoint: Checkpoint,
    held_out_reward_model_checkpoint: Checkpoint,
    models: Models,
    generation: GenerationOptions,
    comparisons: ComparisonOptions,
    self_play: SelfPlayOptions,
    reward_model: RewardModelOptions,
    launch: LaunchOptions,
    rules: Rules,
    seed: int,
    model_store: Path,
    server_keys: ServerKeys,
    generation_work: Path,
    training_work: Path,
) -> tuple[list[Candidate], list[LedgerRow], dict[str, Any]]:
    """Let the best assistant and a simulated user talk; the reward model picks the answers.

    Returns:
        Every candidate, the ledger, and what each job cost.
    """
    checkpoints = (reward_model_checkpoint, held_out_reward_model_checkpoint)
    for checkpoint in checkpoints:
        check_judge(checkpoint, prompt_splits, models, reward_model, model_store)
    judges = make_judges(checkpoints, models, reward_model, launch, rules, training_work)
    best = find_best_assistant(assistants, comparisons)
    player = Player(
        assistant=best,
        user_prefix=self_play_plan["user_prefix"],
        model=resolve_model(best["model"], models.root, model_store, generation.engine),
        generation=generation,
        options=self_play,
        rules=rules,
        seed=seed,
        work=generation_work,
        keys=server_keys,
        judges=judges,
    )
    return play_dialogues(select_some(prompts, prompt_splits, "self_play"), player)


def select_demonstrations(
    self_play_candidates: list[Candidate],
    sft_contamination: list[ContaminationRow],
    evaluation: EvaluationOptions,
    rules: Rules,
) -> tuple[list[Demonstration], list[LedgerRow]]:
    """Make the kept answers demonstrations, by option but those that repeat a benchmark item.

    Returns:
        Demonstrations, and the ledger.
    """
    overlaps = sft_contamination if evaluation.drop_contaminated else []
    return drop_overlapping(make_demonstrations(self_play_candidates, rules), overlaps, rules)


def check_judge(
    checkpoint: Checkpoint,
    prompt_splits: list[PromptSplit],
    models: Models,
    options: RewardModelOptions,
    model_store: Path,
) -> None:
    """Refuse a reward model of other prompts or of another base model than this run's."""
    check_same_data(checkpoint, "prompt_splits", digest_splits(prompt_splits), REMEDY)
    base = resolve_model(options.model, models.root, model_store)
    check_same_base(checkpoint, base, REMEDY)


def report_self_play(
    self_play_candidates: list[Candidate],
    ledger_self_play: list[LedgerRow],
    gate: dict[str, Any],
    seed: int,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Measure what choosing gained; returns metrics and the best-of-n chart."""
    curve = best_of_n_curve(self_play_candidates, seed)
    metrics = {
        **summarise_self_play(self_play_candidates, seed),
        "best_of_n": {str(row["n"]): row for row in curve},
        **summarise_ledger(ledger_self_play),
    }
    return carry_gate(metrics, gate), charts.draw_best_of_n(curve)


def train_sft_policy(
    sft_demonstrations: list[Demonstration],
    prompt_splits: list[PromptSplit],
    models: Models,
    sft: SFTOptions,
    launch: LaunchOptions,
    rules: Rules,
    seed: int,
    model_store: Path,
    accelerate_configs: Path,
    training_work: Path,
) -> tuple[Checkpoint, dict[str, Any], dict[str, Any]]:
    """Fine-tune on the demonstrations; returns checkpoint, metrics and training curve."""
    if not sft_demonstrations:
        raise UserError(
            "sft_demonstrations: there are none, since every candidate was dropped "
            "(ledger_self_play, ledger_sft_demonstrations); see there by which rules, or ask for "
            "more prompts (prompt_generation.n_prompts)"
        )
    base = resolve_model(sft.model, models.root, model_store, "policy")
    rows = list_training_rows(sft_demonstrations)
    job = TrainingJob(
        program="sft",
        name="sft_policy",
        base=base,
        rows=training_work,
        rows_sha256="",
        options=sft,
        separator=separate(rules),
        seed=seed,
        launch=launch,
        accelerate=accelerate_configs / f"{launch.config}.yaml",
        out=training_work,
    )
    trained = train(job, rows)
    data = {"prompt_splits": digest_splits(prompt_splits), "demonstrations": digest_rows(rows)}
    checkpoint = make_checkpoint(trained, job, "policy", data)
    return checkpoint, trained.metrics, charts.draw_training_curve(trained.curve, "SFT policy")


def list_training_rows(demonstrations: list[Demonstration]) -> list[dict[str, Any]]:
    """Return the rows of the training job, whose digest the policy's manifest has."""
    return [
        {"id": row["demonstration_id"], "dialogue": row["dialogue"], "answer": row["answer"]}
        for row in demonstrations
    ]


def test_sft_policy(
    prompts: list[Prompt],
    prompt_splits: list[PromptSplit],
    assistants: list[Assistant],
    sft_policy: Checkpoint,
    reward_model_checkpoint: Checkpoint,
    held_out_reward_model_checkpoint: Checkpoint,
    gate: dict[str, Any],
    models: Models,
    generation: GenerationOptions,
    comparisons: ComparisonOptions,
    policy_test: PolicyTestOptions,
    reward_model: RewardModelOptions,
    sft: SFTOptions,
    launch: LaunchOptions,
    rules: Rules,
    seed: int,
    model_store: Path,
    server_keys: ServerKeys,
    generation_work: Path,
    training_work: Path,
) -> tuple[list[PolicyAnswer], dict[str, Any]]:
    """Compare base model, best assistant and SFT policy on prompts that nothing was trained on.

    Returns:
        Their answers with rewards, and the comparison.
    """
    checkpoints = (reward_model_checkpoint, held_out_reward_model_checkpoint)
    for checkpoint in checkpoints:
        check_judge(checkpoint, prompt_splits, models, reward_model, model_store)
    judges = make_judges(checkpoints, models, reward_model, launch, rules, training_work)
    base = resolve_model(sft.model, models.root, model_store)
    check_same_base(sft_policy, base, "run `kedro run --pipeline rmsp_sft` with these options")
    best = find_best_assistant(assistants, comparisons)
    prompted = resolve_model(best["model"], models.root, model_store)
    policies = [
        Policy("base", base),
        Policy("prompted", prompted, best["prefix"]),
        checkpoint_policy("sft", sft_policy, base.bos),
    ]
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
    pairs = [("sft", "base"), ("sft", "prompted"), ("prompted", "base")]
    found = compare_policies(rows, pairs, seed)
    metrics = {**found, "models": name_models(policies), "cost": costs}
    return rows, carry_gate(metrics, gate)
