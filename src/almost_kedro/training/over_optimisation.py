"""The watch in action: it scores a policy in training, stops it, and keeps the best one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from statistics import stdev
from typing import Any, TypeVar

from accelerate.utils import broadcast_object_list, gather_object
from transformers import TrainerCallback

from almost_kedro.errors import UserError
from almost_kedro.options.training import DPOOptions, RLOptions
from almost_kedro.rows.json_lines import read_rows, write_rows
from almost_kedro.training.job import TrainingJob
from almost_kedro.training.reporter import find_checkpoint
from almost_kedro.training.rewarders import Rewarder, Rewarders
from almost_kedro.training.rollouts import WATCHED_AT_ONCE, has_engine
from almost_kedro.training.trainer import STATE, rename_folder, save_weights
from almost_kedro.training.watch import Score, judge_scores

ROLLOUTS, SCORES = "rollouts.jsonl", "watch.jsonl"
# What TRL calls the mean margin of a step's pairs.
MARGIN = "rewards/margins"
Number = TypeVar("Number", int, float)


class HeldOutWatch(TrainerCallback):  # type: ignore[misc]
    """Scores a fixed set of prompts every few steps, and stops when training goes too far.

    The policy with the best score is kept as `best-STEP` in the work folder's state.
    """

    def __init__(self, trainer: Any, job: TrainingJob, held_out: Rewarder):
        """Remember what is watched; `trainer` is an `AnswerMixin`."""
        assert job.watch_rows
        assert isinstance(job.options, RLOptions | DPOOptions)
        self.trainer, self.job, self.held_out = trainer, job, held_out
        self.options = job.options.watch
        rows = list(read_rows(job.watch_rows))
        self.n_rows = len(rows)
        self.share = find_share(len(rows), job.ranks, trainer.accelerator.process_index)
        mine = [rows[position % len(rows)] for position in self.share]
        self.dialogues = [row["dialogue"] for row in mine]
        self.ids = [row["id"] for row in mine]
        self.scores: list[Score] = []

    def measure(self, answers: Sequence[list[int]], last: int) -> dict[str, float]:
        """Return what training itself rewards, as fields of a `Score`; `last` had the last one."""
        raise NotImplementedError

    def resume(self, checkpoint: str | None) -> None:
        """Load what a checkpoint kept; raise UserError if it is broken or not finite."""
        if not checkpoint:
            return
        try:
            self.read(Path(checkpoint))
        except ValueError as exc:
            raise UserError(f"{exc}; delete {self.job.out} to train from the start") from exc

    def read(self, folder: Path) -> None:
        """Read what `write` wrote."""
        self.scores = [Score(**row) for row in read_rows(folder / SCORES)]  # type: ignore[typeddict-item]

    def write(self, folder: Path) -> None:
        """Write the scores."""
        write_rows(folder / SCORES, self.scores)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Score the untrained policy."""
        if not self.scores:
            self.score(0)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Score every few steps, and the last one; stop if the verdict says so."""
        if state.global_step % self.options.every == 0 or state.global_step == state.max_steps:
            self.score(state.global_step)
            if judge_scores(self.scores, self.options).stop:
                control.should_training_stop = True
                # A run resumed from a checkpoint of this step would take one more step.
                control.should_save = False

    def score(self, step: int) -> None:
        """Score the policy, and keep it if it is the best so far."""
        answers = self.answer()
        last = self.scores[-1]["step"] if self.scores else 0
        held_out = self.reward(self.held_out, answers)
        new: Score = {
            "step": step,
            "held_out_reward": mean(held_out),
            "held_out_error": standard_error(held_out),
            **self.measure(answers, last),  # type: ignore[typeddict-item]
            "length": mean(self.gather([len(answer) for answer in answers])),
        }
        # All ranks follow the first one: rounding may differ between devices.
        shared = [new]
        broadcast_object_list(shared)
        self.scores.append(shared[0])
        if judge_scores(self.scores, self.options).best_step == step:
            self.keep(step)

    def answer(self) -> list[list[int]]:
        """Let the policy answer this rank's prompts, with as many calls as on any other rank."""
        options = self.job.options
        # Several ranks answer as many at once as in rollouts.
        size = options.batch_size * (options.accumulation if self.job.ranks > 1 else 1)
        if has_engine(self.trainer.model):
            size = max(size, WATCHED_AT_ONCE)
        answers: list[list[int]] = []
        for start in range(0, len(self.share), size):
            some = slice(start, start + size)
            seed = self.job.seed + self.share[start]
            answers += self.trainer.answer(self.dialogues[some], seed, self.ids[some])
        return answers

    def reward(self, rewarder: Rewarder | Rewarders, answers: Sequence[list[int]]) -> list[float]:
        """Return the rewards of all ranks' answers; `answers` are this rank's."""
        texts = [self.trainer.reader.read(answer)[0] for answer in answers]
        return self.gather(rewarder.reward(self.dialogues, texts, self.ids))

    def gather(self, values: list[Number]) -> list[Number]:
        """Return a value for each of the watch's prompts, in order, from those of all ranks."""
        found: list[Number] = gather_object(values)
        return found[: self.n_rows]

    def keep(self, step: int) -> None:
        """Save the current policy."""
        part = self.job.out / STATE / "best.part"
        save_weights(self.trainer, self.job, part)
        if self.trainer.accelerator.is_main_process:
            rename_folder(part, self.find_kept(step))

    def find_kept(self, step: int) -> Path:
        """Return where the policy of a step is kept."""
        return self.job.out / STATE / f"best-{step}"

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Write into the checkpoint what a resumed run needs."""
        if state.is_world_process_zero:
            self.write(find_checkpoint(args.output_dir, state.global_step))

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Delete the policies that no whole checkpoint calls the best any more."""
        if not state.is_world_process_zero or (state.global_step % args.save_steps):
            return
        best = judge_scores(self.scores, self.options).best_step
        for folder in (self.job.out / STATE).glob("best-*"):
            if folder != self.find_kept(best):
                shutil.rmtree(folder)

    def finish(self, model: Path) -> dict[str, Any]:
        """Write what was kept; put the best policy into `model` if training was stopped."""
        self.write(self.job.out)
        verdict = judge_scores(self.scores, self.options)
        if verdict.stop:
            shutil.rmtree(model)
            # Links: a run killed before the metrics are written needs the kept policy again.
            shutil.copytree(self.find_kept(verdict.best_step), model, copy_function=os.link)
        return {"stopped": verdict.stop, "reason": verdict.reason, "best_step": verdict.best_step}


class Watch(HeldOutWatch):
    """Watches reinforcement learning; keeps its rollouts, too. Its trainer is a `RolloutMixin`."""

    def measure(self, answers: Sequence[list[int]], last: int) -> dict[str, float]:
        """Return the reward of the answers, and the KL of the rollouts since the last score."""
        kls = [row["kl"] for row in self.trainer.rollouts if row["step"] > last]
        return {"reward": mean(self.reward(self.trainer.rewarder, answers)), "kl": mean(kls)}

    def read(self, folder: Path) -> None:
        """Read rollouts and scores."""
        self.trainer.rollouts[:] = read_rows(folder / ROLLOUTS)
        super().read(folder)

    def write(self, folder: Path) -> None:
        """Write rollouts and scores."""
        write_rows(folder / ROLLOUTS, self.trainer.rollouts)
        super().write(folder)


class MarginWatch(HeldOutWatch):
    """Watches DPO."""

    def measure(self, answers: Sequence[list[int]], last: int) -> dict[str, float]:
        """Return the mean margin of the steps since the last score; at first there is none.

        The current step is logged after it is scored, so it counts for the next score.
        """
        history = self.trainer.state.log_history
        margins = [entry[MARGIN] for entry in history if MARGIN in entry and entry["step"] >= last]
        return {"reward": mean(margins)}


def find_share(n_rows: int, ranks: int, rank: int) -> range:
    """Return the positions of the rows that a rank takes, equally many for each rank.

    The ranks' positions follow one another. Those beyond the last row mean the first rows again.
    """
    each = -(-n_rows // ranks)
    return range(rank * each, (rank + 1) * each)


def mean(values: Sequence[float]) -> float:
    """Return the mean; 0 of no values."""
    return sum(values) / len(values) if values else 0.0


def standard_error(values: Sequence[float]) -> float:
    """Return the standard error of the mean; 0 of fewer than two values."""
    return stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0
