"""Trains a policy by reinforcement learning (rule 23); a program started by `launch`.

The paper used PPO, which TRL has dropped. RLOO is its nearest relative: samples of the policy, a
reward for each sample, and a KL penalty to the SFT policy. Its baseline is the mean reward of the
prompt's other samples instead of a value model. The hyperparameters are ours.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from datasets import Dataset

from almost_kedro.errors import UserError
from almost_kedro.models.texts import TextEncoder, check_context
from almost_kedro.options.training import RLOptions
from almost_kedro.training.answers import AnswerReader
from almost_kedro.training.batches import order_rows
from almost_kedro.training.job import TrainingJob
from almost_kedro.training.lm_head import use_plain_head
from almost_kedro.training.lora import (
    choose_weights,
    find_network,
    make_adapter,
    train_in_float32,
)
from almost_kedro.training.over_optimisation import Watch
from almost_kedro.training.precision import choose_attention
from almost_kedro.training.reporter import Reporter
from almost_kedro.training.rewarders import Rewarder, Rewarders, VisitingRewarder
from almost_kedro.training.rollouts import RolloutMixin, use_engine
from almost_kedro.training.trainer import (
    find_dropout,
    keep_dropout,
    make_arguments,
    read_job_rows,
    train_model,
)


def make_trainer_class(algorithm: str) -> tuple[Any, Any]:
    """Return TRL's trainer with our rollouts, and its configuration class."""
    if algorithm == "grpo":
        from trl import GRPOConfig, GRPOTrainer

        return type("RecordingGRPOTrainer", (RolloutMixin, GRPOTrainer), {}), GRPOConfig
    from trl import RLOOConfig, RLOOTrainer

    return type("RecordingRLOOTrainer", (RolloutMixin, RLOOTrainer), {}), RLOOConfig


def check_batches(job: TrainingJob) -> int:
    """Return the prompts of a step; raise UserError if it can't hold whole groups of answers."""
    options = job.options
    assert isinstance(options, RLOptions)
    rows = options.batch_size * options.accumulation * job.ranks
    if rows % options.generations:
        raise UserError(
            f"option rl.generations: a step has batch_size x accumulation x ranks = {rows} "
            f"answers, which is no multiple of {options.generations}"
        )
    return rows // options.generations


def make_rl_arguments(job: TrainingJob, options: RLOptions) -> dict[str, Any]:
    """Return the arguments that TRL's RLOO and GRPO share."""
    return {
        **make_arguments(job, options.steps),
        "beta": options.beta,
        "num_generations": options.generations,
        "max_completion_length": options.max_new_tokens,
        "temperature": options.temperature,
        "top_p": options.top_p,
        "shuffle_dataset": False,
        "model_init_kwargs": {**choose_weights(job), **choose_attention(job)},
        "use_vllm": options.vllm_server is not None,
        "vllm_mode": "server",
        "vllm_server_base_url": options.vllm_server,
    }


def make_trainer(job: TrainingJob, rows: Sequence[Mapping[str, Any]]) -> Any:
    """Make TRL's trainer with our rollouts; `rows` are the prompts, in the order of answering."""
    options = job.options
    assert isinstance(options, RLOptions)
    assert job.reward_model
    encoder = TextEncoder(job.base, job.separator, options.max_length)
    encoder.tokenizer.padding_side = "left"
    trainer_class, config = make_trainer_class(options.algorithm)
    arguments, dropout = make_rl_arguments(job, options), find_dropout(job)
    # With dropout, a policy differs from itself: its KL does not begin at 0, nor its importance
    # ratios at 1. Models have dropout as layers, as numbers, or read it where they use it.
    arguments["model_init_kwargs"] |= dict.fromkeys(dropout, 0.0)
    trainer: Any = trainer_class(
        model=str(job.base.folder),
        reward_funcs=lambda **batch: trainer.reward(**batch),
        args=config(**arguments, disable_dropout=True),
        processing_class=encoder.tokenizer,
        train_dataset=Dataset.from_list(
            [{"prompt": row["dialogue"], "prompt_id": row["id"]} for row in rows]
        ),
        **make_adapter(job),
    )
    network = find_network(trainer.model)
    train_in_float32(trainer.model)
    keep_dropout(network, dropout)
    for model in filter(None, (network, trainer.ref_model)):
        use_plain_head(model, options.temperature)
    use_engine(trainer.model, job, trainer.eos_token_ids)
    trainer.encoder, trainer.rollouts = encoder, []
    trainer.reader = AnswerReader(encoder, job, trainer.eos_token_ids)
    device = trainer.accelerator.device
    trainer.rewarder = (
        Rewarders(job, device) if job.members else Rewarder(job.reward_model, job, device)
    )
    return trainer


def run(job: TrainingJob) -> None:
    """Train."""
    start = time.perf_counter()
    options = job.options
    assert isinstance(options, RLOptions)
    assert job.held_out_reward_model
    n_prompts = check_batches(job)
    longest = options.max_length + options.max_new_tokens
    check_context(job.base, longest, "rl.max_length + rl.max_new_tokens")
    rows = read_job_rows(job)
    # Every prompt once before any comes again; the whole order is known before training.
    epochs = -(-options.steps * n_prompts // len(rows))
    order = order_rows([0] * len(rows), 1, epochs, job.seed)[: options.steps * n_prompts]
    trainer = make_trainer(job, [rows[row] for row in order])
    held_out = VisitingRewarder(job.held_out_reward_model, job, trainer.accelerator.device)
    watch = Watch(trainer, job, held_out)
    trainer.add_callback(watch)

    def count_tokens(step: int) -> int:
        return sum(row["n_tokens"] for row in trainer.rollouts if row["step"] <= step)

    def get_ids(step: int) -> list[str]:
        return [rows[row]["id"] for row in order[(step - 1) * n_prompts : step * n_prompts]]

    reporter = Reporter(job, options.steps, count_tokens, get_ids)
    train_model(trainer, job, reporter, time.perf_counter() - start, watch)
