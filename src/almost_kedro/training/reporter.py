"""What a training program reports while it trains: progress, the curve, and whole checkpoints."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from almost_kedro.errors import UserError
from almost_kedro.generation.not_finite import describe
from almost_kedro.processes.progress import Progress
from almost_kedro.rows.json_lines import write_rows
from almost_kedro.training.guards import REMEDY, check_finite, choose_number
from almost_kedro.training.job import TrainingJob

# The file that marks a checkpoint as whole, and the curve.
COMPLETE, CURVE = "complete", "curve.jsonl"


class Reporter(TrainerCallback):  # type: ignore[misc]
    """Prints progress, writes the curve, and marks checkpoints that are whole."""

    def __init__(
        self,
        job: TrainingJob,
        n_steps: int,
        count_tokens: Callable[[int], int],
        get_ids: Callable[[int], list[str]],
    ):
        """Start.

        `count_tokens(N)` counts the first N steps, without padding; `get_ids(N)` names step N's
        rows.
        """
        self.job, self.count_tokens, self.get_ids = job, count_tokens, get_ids
        self.progress = Progress(job.name, n_steps)
        self.accelerator: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Count from the step where training resumes."""
        self.progress.set_rows(state.global_step)
        self.first_step = state.global_step
        self.start = time.perf_counter()

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kw: Any
    ) -> None:
        """Raise UserError if a loss, a gradient or another number is not finite, before saving."""
        for name, value in (logs or {}).items():
            if isinstance(value, float) and not math.isfinite(value):
                ids = ", ".join(self.get_ids(state.global_step))
                known = describe(kw["model"].named_parameters(), choose_number(args))
                raise UserError(
                    f"step {state.global_step}: {name} is {value} at rows {ids}; {known}; {REMEDY}"
                )

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Print progress; save no state after the last step, whose model is kept."""
        if state.global_step >= state.max_steps:
            control.should_save = False
        if state.is_world_process_zero:
            done = self.count_tokens(state.global_step) - self.count_tokens(self.first_step)
            self.progress.add_tokens(done - self.progress.tokens)
            self.progress.set_rows(state.global_step)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Mark the checkpoint once every rank has written its part."""
        check_finite(kwargs["model"], state.global_step, self.get_ids(state.global_step))
        self.accelerator.wait_for_everyone()
        if state.is_world_process_zero:
            write_rows(self.job.out / CURVE, self.make_curve(state.log_history))
            (find_checkpoint(args.output_dir, state.global_step) / COMPLETE).touch()

    def make_curve(self, history: list[dict[str, Any]]) -> list[dict[str, float]]:
        """Return the numbers that were logged at each step, `step` first.

        The tokens are our own count: TRL's starts at 0 again where training resumes.
        """
        rows = []
        for entry in history:
            if "loss" in entry or "reward" in entry:
                numbers = {k: v for k, v in entry.items() if isinstance(v, int | float)}
                numbers["num_tokens"] = self.count_tokens(entry["step"])
                rows.append({"step": entry["step"], **numbers})
        return rows


def summarise_curve(curve: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean loss and reward of the first and of the last tenth of the steps."""
    summary = {}
    for name in ("loss", "reward"):
        values = [row[name] for row in curve if name in row]
        tenth = max(1, len(values) // 10)
        if values:
            summary[f"first_{name}"] = sum(values[:tenth]) / tenth
            summary[f"last_{name}"] = sum(values[-tenth:]) / tenth
    return summary


def find_checkpoint(state: str, step: int) -> Path:
    """Return the folder of a step's checkpoint."""
    return Path(state) / f"checkpoint-{step}"


def find_resumable(state: Path) -> str | None:
    """Return the newest whole checkpoint of a work folder; delete incomplete ones."""
    whole = []
    for folder in state.glob("checkpoint-*"):
        if (folder / COMPLETE).is_file():
            whole.append(folder)
        else:
            shutil.rmtree(folder)
    newest = max(whole, key=lambda folder: int(folder.name.rsplit("-", 1)[1]), default=None)
    return str(newest) if newest else None
