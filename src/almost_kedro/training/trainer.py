"""What all training programs do around TRL's trainers: start, resume, save."""

from __future__ import annotations

import math
import os
import shutil
import time
from copy import deepcopy
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import torch
from torch.optim.lr_scheduler import LambdaLR
from transformers import AutoConfig, PreTrainedModel, PrinterCallback, Trainer

from almost_kedro.errors import UserError
from almost_kedro.generation.number_format import choose_dtype
from almost_kedro.processes.work_folders import METRICS
from almost_kedro.rows.json_lines import read_rows, write_json, write_rows
from almost_kedro.training.devices import check_ranks, is_sharded, measure_memory, training_device
from almost_kedro.training.guards import ShardingCheck, check_finite
from almost_kedro.training.job import MODEL, TrainingJob
from almost_kedro.training.lora import count_trained, save_merged
from almost_kedro.training.policy_files import keep_base_files
from almost_kedro.training.precision import as_computed
from almost_kedro.training.reporter import CURVE, Reporter, find_resumable, summarise_curve
from almost_kedro.training.served import make_served_folder
from almost_kedro.training.sharding import whole_state

STATE = "state"
# So much later than the other machines' ranks do those of the first one end.
SECONDS_LAST = 2.0


def make_arguments(job: TrainingJob, n_steps: int) -> dict[str, Any]:
    """Return the arguments of transformers' Trainer that all programs share."""
    options, device = job.options, training_device(job)
    return {
        "output_dir": str(job.out / STATE),
        "seed": job.seed,
        "use_cpu": device.type == "cpu",
        "bf16": choose_dtype(job.launch.dtype, device) == torch.bfloat16,
        "per_device_train_batch_size": options.batch_size,
        "gradient_accumulation_steps": options.accumulation,
        "gradient_checkpointing": options.gradient_checkpointing,
        "learning_rate": options.learning_rate,
        "weight_decay": options.weight_decay,
        "max_steps": n_steps,
        # Rows come in the order that `order_rows` gave them.
        "train_sampling_strategy": "sequential",
        "remove_unused_columns": False,
        "save_strategy": "steps",
        "save_steps": options.save_every,
        # While the newest checkpoint is being written, the one before is whole.
        "save_total_limit": 2,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "report_to": [],
        "disable_tqdm": True,
        "ddp_find_unused_parameters": False,
    }


def find_dropout(job: TrainingJob) -> dict[str, float]:
    """Return the dropout that the base's configuration asks for, by option."""
    base = job.base
    config = AutoConfig.from_pretrained(base.folder, trust_remote_code=base.trust_remote_code)
    return {
        name: value
        for name, value in config.to_dict().items()
        if "drop" in name and isinstance(value, float) and value
    }


def keep_dropout(model: PreTrainedModel, dropout: dict[str, float]) -> None:
    """Save a model that was loaded without dropout with that of its base, as `find_dropout` has it.

    The layers keep the configuration that they were made with.
    """
    if dropout:
        model.config = deepcopy(model.config)
        model.config.update(dropout)


def scale_rate(step: int, warmup_share: float, n_steps: int) -> float:
    """Return the share of the peak learning rate in a step, from 0; the share is never 0.

    transformers' own warm-up begins at 0: its first step, and a training of one step, teach
    nothing. The peak is at the last step of the warm-up. A cosine follows, which would reach 0
    after the last of `n_steps`.
    """
    done, warmup = step + 1, max(1, math.ceil(warmup_share * n_steps))
    if done <= warmup:
        return done / warmup
    return (1 + math.cos(math.pi * (done - warmup) / (n_steps + 1 - warmup))) / 2


def schedule_rate(trainer: Trainer, warmup_share: float, num_training_steps: int) -> LambdaLR:
    """Give a trainer the learning rate of `scale_rate`, once it has its optimizer."""
    rate = partial(scale_rate, warmup_share=warmup_share, n_steps=num_training_steps)
    schedule = trainer.lr_scheduler = LambdaLR(trainer.optimizer, rate)
    return schedule


class Extra(Protocol):
    """What a program keeps besides the weights."""

    def resume(self, checkpoint: str | None) -> None:
        """Go on from a checkpoint, or from the start."""

    def finish(self, model: Path) -> dict[str, Any]:
        """Write what was kept, choose the weights in `model`, and return metrics."""


def train_model(
    trainer: Trainer,
    job: TrainingJob,
    reporter: Reporter,
    load_seconds: float,
    extra: Extra | None = None,
) -> None:
    """Train to the end from the last whole checkpoint of this work, then save the model.

    Raises UserError if other ranks or shards would train than were asked for.
    """
    accelerator = trainer.accelerator
    check_ranks(job, accelerator.num_processes)
    reporter.accelerator = accelerator
    if accelerator.is_main_process:
        job.out.mkdir(parents=True, exist_ok=True)
        find_resumable(job.out / STATE)
    accelerator.wait_for_everyone()
    checkpoint = find_resumable(job.out / STATE)
    if extra:
        extra.resume(checkpoint)
    trainer.create_scheduler = partial(schedule_rate, trainer, job.options.warmup_share)
    trainer.remove_callback(PrinterCallback)  # the curve is in a file
    trainer.add_callback(reporter)
    trainer.add_callback(ShardingCheck(job))
    trainer.train(resume_from_checkpoint=checkpoint)
    save(trainer, job, reporter, load_seconds, checkpoint, extra)
    # A rank that ends while its process group still has threads may be aborted, all work done.
    accelerator.wait_for_everyone()
    accelerator.end_training()
    if job.launch.nodes > 1 and os.environ.get("GROUP_RANK") == "0":
        # The other machines' launchers ask this one's for the end, and complain if it has left.
        time.sleep(SECONDS_LAST)


def save(
    trainer: Trainer,
    job: TrainingJob,
    reporter: Reporter,
    load_seconds: float,
    resumed: str | None,
    extra: Extra | None,
) -> None:
    """Write the model, whole or not at all, then the curve and the metrics; delete the state.

    A run killed before the end still has the state, and does all this again from it.
    """
    accelerator, step = trainer.accelerator, trainer.state.global_step
    seconds = time.perf_counter() - reporter.start
    check_finite(trainer.model, step, reporter.get_ids(step))
    part = job.out / f"{MODEL}.part"
    save_weights(trainer, job, part)
    memory = measure_memory(accelerator)
    sharded = is_sharded(trainer.model)
    accelerator.wait_for_everyone()
    if not accelerator.is_main_process:
        return
    kept = extra.finish(part) if extra else {}
    rename_folder(part, job.out / MODEL)
    make_served_folder(job, bool(trainer.args.bf16))
    curve = reporter.make_curve(trainer.state.log_history)
    write_rows(job.out / CURVE, curve)
    tokens = reporter.count_tokens(step) - reporter.count_tokens(reporter.first_step)
    metrics = {
        "ranks": accelerator.num_processes,
        "sharded": sharded,
        "steps": step,
        "resumed_from_step": int(resumed.rsplit("-", 1)[1]) if resumed else 0,
        "tokens": tokens,
        "tokens_per_second": round(tokens / seconds, 1) if tokens else 0.0,
        "load_seconds": round(load_seconds, 2),
        "train_seconds": round(seconds, 2),
        **memory,
        "bfloat16": bool(trainer.args.bf16),
        **count_trained(trainer.model),
        **summarise_curve(curve),
        **kept,
        "packages": {name: version(name) for name in ("torch", "transformers", "trl")},
    }
    write_json(job.out / METRICS, metrics)
    shutil.rmtree(job.out / STATE, ignore_errors=True)


def save_weights(trainer: Trainer, job: TrainingJob, folder: Path) -> None:
    """Save the model as it computes, without the pickle that Trainer adds; all ranks take part.

    A policy keeps its base's tokenizer. Trainer's own checkpoints keep what rounding hides.
    """
    if trainer.accelerator.is_main_process:
        shutil.rmtree(folder, ignore_errors=True)
    trainer.accelerator.wait_for_everyone()
    with as_computed(trainer.model, trainer.args.bf16), whole_state(trainer.accelerator):
        if job.options.lora:
            # All ranks take part; the first one has it all.
            state = trainer.accelerator.get_state_dict(trainer.model)
            if trainer.accelerator.is_main_process:
                bfloat16 = bool(trainer.args.bf16)
                save_merged(trainer.model, job.base, state, folder, bfloat16=bfloat16)
                trainer.processing_class.save_pretrained(folder)
        else:
            trainer.save_model(str(folder))
    if trainer.accelerator.is_main_process:
        (folder / "training_args.bin").unlink(missing_ok=True)
        if job.program != "reward":
            keep_base_files(job.base, folder)


def rename_folder(part: Path, folder: Path) -> None:
    """Move a finished folder to its place, and replace what was there."""
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)


def read_job_rows(job: TrainingJob) -> list[dict[str, Any]]:
    """Read the job's rows; raise UserError if there are none."""
    rows = list(read_rows(job.rows))
    if not rows:
        raise UserError(f"{job.name}: no rows to train on")
    return rows
