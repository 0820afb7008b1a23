"""Nodes of `dpo`: the reward model's comparisons train a policy, which is then tested."""

from __future__ import annotations

from typing import Any

from almost_kedro.charts import training as charts
from almost_kedro.charts.style import Plot
from almost_kedro.contract import ModelFolder
from almost_kedro.evaluation.gate import carry_gate
from almost_kedro.evaluation.policy_rewards import compare_policies, keep_common
from almost_kedro.evaluation.stages import BASE, BEST_OF_N, DPO
from almost_kedro.feedback.reward_rows import (
    RewardRow,
    build_reward_rows,
    check_enough,
    choose_separator,
)
from almost_kedro.feedback.splits import (
    digest_splits,
    list_dialogues,
    require_prompts,
    select_comparisons,
)
from almost_kedro.jobs.models import find_trainee
from almost_kedro.jobs.policies import (
    Policy,
    answer_by_best,
    answer_test_prompts,
    checkpoint_policy,
    describe_test,
    find_prompted,
    name_models,
)
from almost_kedro.jobs.reference import add_reference
from almost_kedro.jobs.reward_models import check_judge, find_judges
from almost_kedro.jobs.row_files import digest_rows
from almost_kedro.jobs.train import make_checkpoint, run_training
from almost_kedro.models.checkpoints import Checkpoint, as_model, check_same_base, check_same_data
from almost_kedro.options.all import Options
from almost_kedro.processes.workplace import Workplace
from almost_kedro.rows.feedback import Assistant, Comparison, Prompt
from almost_kedro.rows.json_lines import read_rows
from almost_kedro.rows.metrics import DPOMetrics, GateResult
from almost_kedro.rows.training import PolicyAnswer, PromptSplit
from almost_kedro.training.job import TrainingJob


def train_dpo_policy(
    dpo_plan: dict[str, Any],
    reward_pairs: list[Comparison],
    prompts: list[Prompt],
    prompt_splits: list[PromptSplit],
    held_out_reward_model: Checkpoint,
    options: Options,
    workplace: Workplace,
) -> tuple[Checkpoint, dict[str, Any], Plot, Plot]:
    """Train the base model on the comparisons that the reward model was trained on.

    Returns checkpoint, metrics, the training curve and a chart of the watch's scores.
    """
    check_judge(held_out_reward_model, prompt_splits, options, workplace)
    base = ModelFolder.model_validate(dpo_plan["models"][options.sft.model])
    pairs = select_pairs(reward_pairs, prompt_splits, options)
    rows, reference = add_reference(pairs, base, options, workplace)
    watch_rows = list_dialogues(prompts, prompt_splits, "watch", options.rules)
    judge_bos = options.models.root[options.reward_model.model].bos
    job = TrainingJob(
        program="dpo",
        name=DPO.policy,
        base=base,
        rows=workplace.training,
        rows_sha256="",
        held_out_reward_model=as_model(held_out_reward_model, judge_bos),
        reward_max_length=options.reward_model.max_length,
        options=options.dpo,
        separator=choose_separator(options.rules),
        rules=options.rules,
        seed=options.seed,
        launch=options.launch,
        accelerate=workplace.accelerate / f"{options.launch.config}.yaml",
        out=workplace.training,
    )
    trained = run_training(job, rows, watch_rows)
    # As in the reward model's manifest, to tell that both were trained on the same.
    data = {"prompt_splits": digest_splits(prompt_splits), "comparisons": digest_rows(pairs)}
    checkpoint = make_checkpoint(trained, job, "policy", data)
    scores = list(read_rows(trained.folder / "watch.jsonl"))
    return (
        checkpoint,
        {**trained.metrics, "reference": reference},
        charts.draw_training_curve(trained.curve, "DPO policy"),
        charts.draw_training_curve(scores, "DPO policy on the watch prompts"),
    )


def select_pairs(
    reward_pairs: list[Comparison], prompt_splits: list[PromptSplit], options: Options
) -> list[RewardRow]:
    """Return the rows of the reward model's training; raise UserError if there are none."""
    pairs = select_comparisons(reward_pairs, prompt_splits, "reward_model")
    check_enough(pairs, 0, "reward_model")
    return build_reward_rows(pairs, options.rules)


def test_dpo_policy(
    prompts: list[Prompt],
    prompt_splits: list[PromptSplit],
    assistants: list[Assistant],
    dpo_policy: Checkpoint,
    reward_model: Checkpoint,
    held_out_reward_model: Checkpoint,
    gate: GateResult,
    options: Options,
    workplace: Workplace,
) -> tuple[list[PolicyAnswer], DPOMetrics]:
    """Compare the DPO policy with base model, best assistant and its best of n on test prompts.

    Best of n is the way that trains no policy: the reward model picks one of several answers.
    """
    judges = find_judges(reward_model, held_out_reward_model, prompt_splits, options, workplace)
    base = find_trainee(options.sft.model, options, workplace)
    check_same_base(dpo_policy, base, DPO.how_to_train)
    check_same_data(dpo_policy, "prompt_splits", digest_splits(prompt_splits), DPO.how_to_train)
    prompted = find_prompted(assistants, options, workplace)
    policies = [Policy(BASE, base), prompted, checkpoint_policy(DPO.name, dpo_policy, base.bos)]
    asked = require_prompts(prompts, prompt_splits, "policy_test")
    rows, costs = answer_test_prompts(policies, asked, judges, options, workplace)
    n = options.self_play.candidates
    best, best_costs = answer_by_best(prompted, n, asked, judges, options, workplace)
    rows = keep_common([*rows, *best])
    pairs = [*DPO.pair_with(DPO.tested_with), (BEST_OF_N, BASE), (DPO.name, BEST_OF_N)]
    return rows, {
        **carry_gate(gate),
        **compare_policies(rows, pairs, options.seed),
        "best_of": n,
        "models": name_models([*policies, prompted._replace(name=BEST_OF_N)]),
        "test": describe_test(judges, options),
        "cost": {**costs, **best_costs},
    }
