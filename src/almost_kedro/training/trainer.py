"""What all training programs do around TRL's trainers: start, resume, guard, report, save."""

from __future__ import annotations

import json
import math
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import torch
from transformers import PrinterCallback, Trainer, TrainerCallback

from almost_kedro.errors import UserError
from almost_kedro.generation.embedded import choose_dtype
from almost_kedro.generation.progress import Progress
from almost_kedro.generation.worker import peak_memory
from almost_kedro.json_lines import read_rows, write_rows, write_whole
from almost_kedro.locks import DISK_ERRORS, explain_disk
from almost_kedro.programs import die_with_parent
from almost_kedro.training.devices import (
    check_devices,
    check_ranks,
    check_sharding,
    is_sharded,
    largest_over_ranks,
)
from almost_kedro.training.job import TrainingJob

COMPLETE = "complete"
STATE, MODEL, CURVE, METRICS = "state", "model", "curve.jsonl", "metrics.json"


def run_main(run: Callable[[TrainingJob], None], job_file: str) -> int:
    """Carry out a job file; returns the exit status, with one line on stderr if it failed."""
    die_with_parent()
    try:
        job = TrainingJob.model_validate_json(Path(job_file).read_text(encoding="utf-8"))
        check_devices(job)
        run(job)
    except UserError as exc:
        print(f"error: {exc}", file=sys.stderr, flush=True)
        return 2
    except OSError as exc:
        if exc.errno not in DISK_ERRORS:
            raise
        print(f"error: {explain_disk(exc)}", file=sys.stderr, flush=True)
        return 2
    return 0


def make_arguments(job: TrainingJob, n_steps: int) -> dict[str, Any]:
    """Return the arguments of transformers' Trainer that all programs share."""
    options = job.options
    on_cpu = not torch.cuda.is_available()
    return {
        "output_dir": str(job.out / STATE),
        "seed": job.seed,
        "use_cpu": on_cpu,
        "bf16": choose_dtype(job.launch.dtype) == torch.bfloat16,
        "per_device_train_batch_size": options.batch_size,
        "gradient_accumulation_steps": options.accumulation,
        "gradient_checkpointing": options.gradient_checkpointing,
        "learning_rate": options.learning_rate,
        "weight_decay": options.weight_decay,
        "lr_scheduler_type": "cosine",
        "warmup_steps": math.ceil(options.warmup_share * n_steps),
        "max_steps": n_steps,
        # Rows come in the order that `order_rows` gave them.
        "train_sampling_strategy": "sequential",
        "remove_unused_columns": False,
        "save_strategy": "steps",
        "save_steps": options.save_every,
        # The one before is whole while the newest is being written.
        "save_total_limit": 2,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "report_to": [],
        "disable_tqdm": True,
        "ddp_find_unused_parameters": False,
    }


class GuardedLoss:
    """Stops at a loss that is not finite; a mix-in for trainers whose batches carry row numbers."""

    row_ids: list[str]

    def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Compute the loss as the trainer does, without the row numbers.

        Raises:
            UserError: The ids of the batch's rows.
        """
        rows = inputs.pop("row")
        result = super().compute_loss(model, inputs, *args, **kwargs)  # type: ignore[misc]
        loss = result[0] if isinstance(result, tuple) else result
        if not torch.isfinite(loss):
            ids = ", ".join(self.row_ids[row] for row in rows.tolist())
            raise UserError(
                f"the loss is {loss.item()} at rows {ids}; look at these, or lower the learning "
                "rate; the last checkpoint is kept"
            )
        return result


class WithRows:
    """Collates with another collator, and adds the numbers of the rows as `row`, `(batch,)`."""

    def __init__(self, collate: Callable[[list[dict[str, Any]]], dict[str, Any]]):
        """Remember the collator."""
        self.collate = collate

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        """Collate."""
        batch = self.collate(examples)
        batch["row"] = torch.tensor([example["row"] for example in examples])
        return batch


class Reporter(TrainerCallback):
    """Prints progress, writes the curve, and marks checkpoints that are whole."""

    def __init__(self, job: TrainingJob, n_steps: int, tokens: Callable[[int], int]):
        """Start.

        Args:
            job: The job.
            n_steps: Steps in all.
            tokens: Real tokens of the first N steps.
        """
        self.job, self.tokens = job, tokens
        self.progress = Progress(job.name, n_steps)
        self.accelerator: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Count from where training resumes."""
        self.progress.set_rows(state.global_step)
        self.progress.tokens = 0
        self.first_step = state.global_step
        self.start = time.perf_counter()

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kw: Any
    ) -> None:
        """Refuse a gradient that is not finite, before it is saved."""
        norm = (logs or {}).get("grad_norm")
        if norm is not None and not math.isfinite(norm):
            raise UserError(
                f"step {state.global_step}: the gradient is not finite; lower the learning rate; "
                "the last checkpoint is kept"
            )

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Print progress."""
        if state.is_world_process_zero:
            done = self.tokens(state.global_step) - self.tokens(self.first_step)
            self.progress.add_tokens(done - self.progress.tokens)
            self.progress.set_rows(state.global_step)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Mark the checkpoint once every rank has written its part."""
        self.accelerator.wait_for_everyone()
        if state.is_world_process_zero:
            write_rows(self.job.out / CURVE, clean_curve(state.log_history))
            folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            (folder / COMPLETE).touch()


def clean_curve(history: list[dict[str, Any]]) -> list[dict[str, float]]:
    """Return what was logged at each step: numbers only, `step` first."""
    rows = []
    for entry in history:
        if "loss" in entry or "reward" in entry:
            numbers = {k: v for k, v in entry.items() if isinstance(v, int | float)}
            rows.append({"step": entry["step"], **numbers})
    return rows


def find_resumable(state: Path) -> str | None:
    """Return the newest whole checkpoint of a work folder; half ones are removed."""
    whole = []
    for folder in state.glob("checkpoint-*"):
        if (folder / COMPLETE).is_file():
            whole.append(folder)
        else:
            shutil.rmtree(folder)
    newest = max(whole, key=lambda folder: int(folder.name.rsplit("-", 1)[1]), default=None)
    return str(newest) if newest else None


class Extra(Protocol):
    """What a program keeps besides the weights."""

    def resume(self, checkpoint: str | None) -> None:
        """Go on from a checkpoint, or from the start."""

    def finish(self, model: Path) -> dict[str, Any]:
        """Write what was kept, choose the weights in `model`, and return metrics."""


def train(
    trainer: Trainer,
    job: TrainingJob,
    reporter: Reporter,
    load_seconds: float,
    extra: Extra | None = None,
) -> None:
    """Train to the end from the last whole checkpoint of this work, then save the model.

    Args:
        trainer: The trainer.
        job: The job.
        reporter: Counts and reports.
        load_seconds: What it took to get here.
        extra: What the program keeps besides.

    Raises:
        UserError: If other ranks, or shards, than asked for would train.
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
    trainer.remove_callback(PrinterCallback)  # the curve is in a file
    trainer.add_callback(reporter)
    trainer.add_callback(ShardingCheck(job))
    trainer.train(resume_from_checkpoint=checkpoint)
    save(trainer, job, reporter, load_seconds, checkpoint, extra)


class ShardingCheck(TrainerCallback):
    """Looks at the parameters that are about to be trained."""

    def __init__(self, job: TrainingJob):
        """Remember the job."""
        self.job = job

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Refuse other shards than asked for."""
        check_sharding(self.job, kwargs["model"])


def save(
    trainer: Trainer,
    job: TrainingJob,
    reporter: Reporter,
    load_seconds: float,
    resumed: str | None,
    extra: Extra | None,
) -> None:
    """Write the model, whole or not at all, then the curve and what it cost; drop the state."""
    accelerator = trainer.accelerator
    seconds = time.perf_counter() - reporter.start
    part = job.out / f"{MODEL}.part"
    trainer.save_model(str(part))
    memory = largest_over_ranks(peak_memory() / 2**20, accelerator)
    sharded = is_sharded(trainer.model)
    accelerator.wait_for_everyone()
    if not accelerator.is_main_process:
        return
    finish_model(part, job.out / MODEL)
    kept = extra.finish(job.out / MODEL) if extra else {}
    curve = clean_curve(trainer.state.log_history)
    write_rows(job.out / CURVE, curve)
    tokens = reporter.tokens(trainer.state.global_step) - reporter.tokens(reporter.first_step)
    metrics = {
        "ranks": accelerator.num_processes,
        "sharded": sharded,
        "steps": trainer.state.global_step,
        "resumed_from_step": int(resumed.rsplit("-", 1)[1]) if resumed else 0,
        "tokens": tokens,
        "tokens_per_second": round(tokens / seconds, 1) if tokens else 0.0,
        "load_seconds": round(load_seconds, 2),
        "train_seconds": round(seconds, 2),
        "peak_memory_mb": round(memory, 1),
        "bfloat16": bool(trainer.args.bf16),
        **summarise_curve(curve),
        **kept,
        "packages": {name: version(name) for name in ("torch", "transformers", "trl")},
    }
    with write_whole(job.out / METRICS) as file:
        file.write(json.dumps(metrics).encode())
    shutil.rmtree(job.out / STATE, ignore_errors=True)


def finish_model(part: Path, model: Path) -> None:
    """Give a saved model its name, without the pickle that Trainer adds."""
    (part / "training_args.bin").unlink(missing_ok=True)
    shutil.rmtree(model, ignore_errors=True)
    part.rename(model)


def summarise_curve(curve: list[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean loss of the first and of the last tenth of the steps."""
    losses = [row["loss"] for row in curve if "loss" in row]
    tenth = max(1, len(losses) // 10)
    if not losses:
        return {}
    return {
        "first_loss": sum(losses[:tenth]) / tenth,
        "last_loss": sum(losses[-tenth:]) / tenth,
    }


def read_job_rows(job: TrainingJob) -> list[dict[str, Any]]:
    """Read the job's rows.

    Raises:
        UserError: If there are none.
    """
    rows = list(read_rows(job.rows))
    if not rows:
        raise UserError(f"{job.name}: no rows to train on")
    return rows
