"""Nodes of `rmsp_sft`: dialogues in turns of generation and scoring, then fine-tuning."""

from __future__ import annotations

from typing import Any, cast

from almost_kedro.charts import training as charts
from almost_kedro.charts.style import Plot
from almost_kedro.errors import UserError
from almost_kedro.evaluation.best_of_n import best_of_n_curve, summarise_self_play
from almost_kedro.evaluation.gate import carry_gate
from almost_kedro.evaluation.policy_rewards import compare_policies
from almost_kedro.evaluation.stages import BASE, PROMPTED, SFT
from almost_kedro.feedback.decontamination import drop_overlapping
from almost_kedro.feedback.ledger import summarise_ledger
from almost_kedro.feedback.planning import find_best_assistant
from almost_kedro.feedback.reward_rows import choose_separator
from almost_kedro.feedback.self_play import list_training_rows, make_demonstrations
from almost_kedro.feedback.splits import digest_splits, require_prompts
from almost_kedro.jobs.models import find_model, find_trainee
from almost_kedro.jobs.policies import (
    Policy,
    answer_test_prompts,
    checkpoint_policy,
    describe_test,
    find_prompted,
    name_models,
)
from almost_kedro.jobs.reward_models import find_judges
from almost_kedro.jobs.row_files import digest_rows
from almost_kedro.jobs.self_play import Player, play_dialogues
from almost_kedro.jobs.train import make_checkpoint, run_training
from almost_kedro.models.checkpoints import Checkpoint, check_same_base
from almost_kedro.options.all import Options
from almost_kedro.options.evaluation import EvaluationOptions
from almost_kedro.options.rules import Rules
from almost_kedro.processes.workplace import Workplace
from almost_kedro.rows.evaluation import ContaminationRow
from almost_kedro.rows.feedback import Assistant, LedgerRow, Prompt
from almost_kedro.rows.metrics import GateResult, PolicyMetrics, SelfPlayMetrics
from almost_kedro.rows.training import Candidate, Demonstration, PolicyAnswer, PromptSplit
from almost_kedro.training.job import TrainingJob


def play(
    self_play_plan: dict[str, Any],
    prompts: list[Prompt],
    prompt_splits: list[PromptSplit],
    assistants: list[Assistant],
    reward_model: Checkpoint,
    held_out_reward_model: Checkpoint,
    options: Options,
    workplace: Workplace,
) -> tuple[list[Candidate], list[LedgerRow], dict[str, Any]]:
    """Let the best assistant and a simulated user talk; the reward model picks the answers.

    Returns every candidate, the ledger, and the cost of each job.
    """
    judges = find_judges(reward_model, held_out_reward_model, prompt_splits, options, workplace)
    best = find_best_assistant(assistants, options.comparisons)
    player = Player(
        assistant=best,
        user_prefix=self_play_plan["user_prefix"],
        model=find_model(best["model"], options, workplace, options.generation.engine),
        options=options,
        workplace=workplace,
        judges=judges,
    )
    return play_dialogues(require_prompts(prompts, prompt_splits, "self_play"), player)


def select_demonstrations(
    self_play: list[Candidate],
    sft_contamination: list[ContaminationRow],
    evaluation_options: EvaluationOptions,
    rules: Rules,
) -> tuple[list[Demonstration], list[LedgerRow]]:
    """Turn kept answers into demonstrations; return them and the ledger.

    With `drop_contaminated`, answers that repeat a benchmark item are dropped.
    """
    overlaps = sft_contamination if evaluation_options.drop_contaminated else []
    return drop_overlapping(make_demonstrations(self_play, rules), overlaps, rules)


def report_self_play(
    self_play: list[Candidate],
    ledger_self_play: list[LedgerRow],
    gate: GateResult,
    seed: int,
) -> tuple[SelfPlayMetrics, Plot]:
    """Measure what choosing gained; return metrics and the best-of-n chart."""
    curve = best_of_n_curve(self_play, seed)
    metrics = {
        **carry_gate(gate),
        **summarise_self_play(self_play, seed),
        "best_of_n": {str(row["n"]): row for row in curve},
        **summarise_ledger(ledger_self_play),
    }
    return cast(SelfPlayMetrics, metrics), charts.draw_best_of_n(curve)


def train_sft_policy(
    sft_demonstrations: list[Demonstration],
    prompt_splits: list[PromptSplit],
    options: Options,
    workplace: Workplace,
) -> tuple[Checkpoint, dict[str, Any], Plot]:
    """Fine-tune on the demonstrations; return checkpoint, metrics and training curve."""
    if not sft_demonstrations:
        raise UserError(
            "sft_demonstrations: there are none, since every candidate was dropped "
            "(ledger_self_play, ledger_sft_demonstrations); see there by which rules, or ask for "
            "more prompts (prompt_generation.n_prompts)"
        )
    base = find_trainee(options.sft.model, options, workplace, "policy")
    rows = list_training_rows(sft_demonstrations)
    job = TrainingJob(
        program="sft",
        name="sft_policy",
        base=base,
        rows=workplace.training,
        rows_sha256="",
        options=options.sft,
        separator=choose_separator(options.rules),
        seed=options.seed,
        launch=options.launch,
        accelerate=workplace.accelerate / f"{options.launch.config}.yaml",
        out=workplace.training,
    )
    trained = run_training(job, rows)
    data = {"prompt_splits": digest_splits(prompt_splits), "demonstrations": digest_rows(rows)}
    checkpoint = make_checkpoint(trained, job, "policy", data)
    return checkpoint, trained.metrics, charts.draw_training_curve(trained.curve, "SFT policy")


def test_sft_policy(
    prompts: list[Prompt],
    prompt_splits: list[PromptSplit],
    assistants: list[Assistant],
    sft_policy: Checkpoint,
    reward_model: Checkpoint,
    held_out_reward_model: Checkpoint,
    gate: GateResult,
    options: Options,
    workplace: Workplace,
) -> tuple[list[PolicyAnswer], PolicyMetrics]:
    """Compare base model, best assistant and SFT policy on prompts that nothing was trained on."""
    judges = find_judges(reward_model, held_out_reward_model, prompt_splits, options, workplace)
    base = find_trainee(options.sft.model, options, workplace)
    check_same_base(sft_policy, base, "run `kedro run --pipeline rmsp_sft` with these options")
    policies = [
        Policy(BASE, base),
        find_prompted(assistants, options, workplace),
        checkpoint_policy(SFT.name, sft_policy, base.bos),
    ]
    rows, costs = answer_test_prompts(
        policies, require_prompts(prompts, prompt_splits, "policy_test"), judges, options, workplace
    )
    pairs = [*SFT.pair_with(SFT.tested_with), (PROMPTED, BASE)]
    found = compare_policies(rows, pairs, options.seed)
    return rows, {
        **carry_gate(gate),
        **found,
        "models": name_models(policies),
        "test": describe_test(judges, options),
        "cost": costs,
    }
