"""Trains a policy by reinforcement learning (rule 23); a program started by `launch`.

The paper used PPO, which TRL has dropped. RLOO is its nearest relative: samples of the policy, a
reward a sample, a KL penalty to the SFT policy, and as baseline the mean reward of the prompt's
other samples instead of a value model. Its numbers here are ours.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import broadcast_object_list, gather_object
from datasets import Dataset
from transformers import TrainerCallback
from trl.models.utils import unwrap_model_for_generation

from almost_kedro.errors import UserError
from almost_kedro.generation.embedded import choose_dtype
from almost_kedro.generation.job import ModelFolder
from almost_kedro.json_lines import read_rows, write_rows
from almost_kedro.training.batches import order_rows
from almost_kedro.training.job import TrainingJob
from almost_kedro.training.score import RewardScorer
from almost_kedro.training.texts import TextEncoder
from almost_kedro.training.trainer import (
    Reporter,
    finish_model,
    make_arguments,
    read_job_rows,
    run_main,
    train,
)
from almost_kedro.training.watch import Score, Verdict, judge_scores
from almost_kedro.training_options import RLOptions

ROLLOUTS, SCORES = "rollouts.jsonl", "watch.jsonl"


class Rewarder:
    """Rewards completions from their token ids, exactly as the reward model was trained."""

    def __init__(self, model: ModelFolder, encoder: TextEncoder, job: TrainingJob, device: Any):
        """Load a reward model."""
        dtype = choose_dtype(job.launch.dtype)
        self.scorer = RewardScorer(model, dtype, device, encoder.pad)
        self.encoder = encoder

    def reward(self, dialogues: Sequence[list[int]], answers: Sequence[list[int]]) -> list[float]:
        """Return the reward of each answer's token ids after its dialogue's."""
        pairs = zip(dialogues, answers, strict=True)
        return self.scorer.score([self.encoder.join(*pair).ids for pair in pairs])


class RolloutMixin:
    """What we add to TRL's RLOO and GRPO trainers: our token ids, our rewards, and the rollouts.

    TRL itself would decode the completions without special tokens and score them without eos.
    """

    encoder: TextEncoder
    rewarder: Rewarder
    rollouts: list[dict[str, Any]]

    def _tokenize_prompts(self, prompts: list[str]) -> tuple[list[list[int]], None, dict[str, Any]]:
        return [self.encode_dialogue(prompt) for prompt in prompts], None, {}

    def encode_dialogue(self, dialogue: str) -> list[int]:
        """Return a dialogue's token ids; what is too long loses its beginning."""
        [ids] = self.encoder.encoder.encode([dialogue])
        return ids[-self.encoder.max_length :]

    def reward(
        self,
        prompts: list[str],
        completions: list[str],
        completion_ids: list[list[int]],
        prompt_id: list[str],
        **_: Any,
    ) -> list[float]:
        """Reward this rank's completions, and keep them as rollouts."""
        dialogues = [self.encode_dialogue(prompt) for prompt in prompts]
        rewards = self.rewarder.reward(dialogues, completion_ids)
        if not all(map(torch.isfinite, torch.tensor(rewards))):
            raise UserError(f"a reward is not finite, at prompts {', '.join(prompt_id)}")
        self._new: list[dict[str, Any]] = [
            {
                "prompt_id": id_,
                "completion": completion.strip(),
                "finish_reason": "eos" if ids[-1:] == [self.encoder.eos] else "length",
                "n_tokens": len(ids),
                "reward": reward,
            }
            for id_, completion, ids, reward in zip(
                prompt_id, completions, completion_ids, rewards, strict=True
            )
        ]
        return rewards

    def _get_per_token_logps_and_entropies(self, model: Any, *args: Any, **kwargs: Any) -> Any:
        result = super()._get_per_token_logps_and_entropies(model, *args, **kwargs)  # type: ignore[misc]
        if not torch.is_grad_enabled():
            self._logps["reference" if model is self.ref_model else "policy"] = result[0]  # type: ignore[attr-defined]
            self._arguments = (args, kwargs)
        return result

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        self._logps: dict[str, torch.Tensor] = {}
        output: dict[str, Any] = super()._generate_and_score_completions(inputs)  # type: ignore[misc]
        kl = torch.zeros(len(inputs))
        if "reference" in self._logps:
            if "policy" not in self._logps:  # GRPO needs them later only
                with torch.no_grad():
                    args, kwargs = self._arguments
                    self._get_per_token_logps_and_entropies(self.model, *args, **kwargs)  # type: ignore[attr-defined]
            ratios = self._logps["policy"] - self._logps["reference"]  # (batch, length)
            kl = (ratios * output["completion_mask"]).sum(1)
        new = [{**row, "kl": value} for row, value in zip(self._new, kl.tolist(), strict=True)]
        step = self.state.global_step + 1  # type: ignore[attr-defined]
        seen: dict[str, int] = {}
        for row in gather_object(new):
            sample = seen[row["prompt_id"]] = seen.get(row["prompt_id"], -1) + 1
            self.rollouts.append({"step": step, "sample": sample, **row})
        return output

    def answer(self, dialogues: Sequence[list[int]], seed: int) -> list[list[int]]:
        """Let the policy answer; training's own random stream is left where it was.

        Args:
            dialogues: Token ids.
            seed: Of this call; the same on every rank.

        Returns:
            Token ids of the answers, up to and including the eos token.
        """
        width = max(map(len, dialogues))
        pad = self.encoder.pad
        ids = torch.tensor([[pad] * (width - len(row)) + row for row in dialogues])
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in dialogues])
        device = self.accelerator.device  # type: ignore[attr-defined]
        with (
            torch.random.fork_rng(),
            torch.no_grad(),
            unwrap_model_for_generation(
                self.model_wrapped,  # type: ignore[attr-defined]
                self.accelerator,  # type: ignore[attr-defined]
                generation_kwargs=self.generation_kwargs,  # type: ignore[attr-defined]
            ) as model,
        ):
            torch.manual_seed(seed)
            output = model.generate(
                input_ids=ids.to(device),
                attention_mask=mask.to(device),
                generation_config=self.generation_config,  # type: ignore[attr-defined]
            )
        answers = output[:, width:].tolist()
        return [cut_after(answer, self.encoder.eos) for answer in answers]


def cut_after(ids: list[int], end: int) -> list[int]:
    """Return ids up to and including the first `end`."""
    return ids[: ids.index(end) + 1] if end in ids else ids


class Watch(TrainerCallback):
    """Scores a fixed set of prompts every few steps, and stops when the reward is over-optimised.

    The policy as it was at the best score is kept as `best-STEP`.
    """

    def __init__(self, trainer: Any, job: TrainingJob, held_out: Rewarder):
        """Remember what is watched.

        Args:
            trainer: The trainer, a `RolloutMixin`.
            job: The job.
            held_out: The held-out reward model.
        """
        assert job.watch_rows and isinstance(job.options, RLOptions)
        self.trainer, self.job, self.held_out = trainer, job, held_out
        self.options = job.options.watch
        rows = read_rows(job.watch_rows)
        self.dialogues = [trainer.encode_dialogue(row["dialogue"]) for row in rows]
        self.scores: list[Score] = []
        self.verdict: Verdict | None = None

    def resume(self, checkpoint: str | None) -> None:
        """Go on with the rollouts and scores of a checkpoint."""
        if checkpoint:
            self.trainer.rollouts[:] = read_rows(Path(checkpoint) / ROLLOUTS)
            self.scores = [Score(**row) for row in read_rows(Path(checkpoint) / SCORES)]  # type: ignore[typeddict-item]

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Score the policy as it is before training."""
        if not self.scores:
            self.score(0)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Score every few steps; stop if the verdict says so."""
        if state.global_step % self.options.every == 0:
            self.score(state.global_step)
            assert self.verdict
            if self.verdict.stop:
                control.should_training_stop = True

    def score(self, step: int) -> None:
        """Score the policy now, and keep it if it is the best so far."""
        trainer = self.trainer
        answers: list[list[int]] = []
        size = max(1, self.job.options.batch_size)
        for start in range(0, len(self.dialogues), size):
            answers += trainer.answer(self.dialogues[start : start + size], self.job.seed + start)
        last = self.scores[-1]["step"] if self.scores else 0
        kls = [row["kl"] for row in trainer.rollouts if row["step"] > last]
        new = Score(
            step=step,
            held_out_reward=mean(self.held_out.reward(self.dialogues, answers)),
            reward=mean(trainer.rewarder.reward(self.dialogues, answers)),
            kl=mean(kls),
            length=mean([len(answer) for answer in answers]),
        )
        # All ranks follow the first one: rounding may differ between devices.
        shared = [new]
        broadcast_object_list(shared)
        self.scores.append(shared[0])
        self.verdict = judge_scores(self.scores, self.options)
        if self.verdict.best_step == step:
            self.keep(step)

    def finish(self, model: Path) -> dict[str, Any]:
        """Write rollouts and scores; put the best policy into `model` if training was stopped."""
        out = self.job.out
        write_rows(out / ROLLOUTS, self.trainer.rollouts)
        write_rows(out / SCORES, self.scores)
        verdict = judge_scores(self.scores, self.options)
        if verdict.stop:
            shutil.rmtree(model)
            (out / f"best-{verdict.best_step}").rename(model)
        for kept in out.glob("best-*"):
            shutil.rmtree(kept)
        return {"stopped": verdict.stop, "reason": verdict.reason, "best_step": verdict.best_step}

    def keep(self, step: int) -> None:
        """Save the policy as it is now."""
        part = self.job.out / "best.part"
        self.trainer.save_model(str(part))
        if self.trainer.accelerator.is_main_process:
            finish_model(part, self.job.out / f"best-{step}")

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Write rollouts and scores into the checkpoint; drop what is no longer the best."""
        if not state.is_world_process_zero:
            return
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        write_rows(folder / ROLLOUTS, self.trainer.rollouts)
        write_rows(folder / SCORES, self.scores)
        best = judge_scores(self.scores, self.options).best_step
        for kept in self.job.out.glob("best-*"):
            # Those after this step belong to a run that was killed, and come again.
            if kept.name != f"best-{best}":
                shutil.rmtree(kept)


def mean(values: Sequence[float]) -> float:
    """Return the mean; 0 of nothing."""
    return sum(values) / len(values) if values else 0.0


def make_trainer_class(algorithm: str) -> tuple[Any, Any]:
    """Return TRL's trainer, with our rollouts, and its configuration."""
    if algorithm == "grpo":
        from trl import GRPOConfig, GRPOTrainer

        return type("RecordingGRPOTrainer", (RolloutMixin, GRPOTrainer), {}), GRPOConfig
    from trl import RLOOConfig, RLOOTrainer

    return type("RecordingRLOOTrainer", (RolloutMixin, RLOOTrainer), {}), RLOOConfig


def check_batches(job: TrainingJob) -> int:
    """Return how many prompts a step has.

    Raises:
        UserError: If a step can't hold whole groups of answers.
    """
    options = job.options
    assert isinstance(options, RLOptions)
    rows = options.batch_size * options.accumulation * job.ranks
    if rows % options.generations:
        raise UserError(
            f"option rl.generations: a step has batch_size x accumulation x ranks = {rows} "
            f"answers, which is no multiple of {options.generations}"
        )
    return rows // options.generations


def run(job: TrainingJob) -> None:
    """Train."""
    start = time.perf_counter()
    options = job.options
    assert isinstance(options, RLOptions) and job.reward_model and job.held_out_reward_model
    prompts = check_batches(job)
    rows = read_job_rows(job)
    encoder = TextEncoder(job.base, job.separator, options.max_length)
    # Every prompt once before any comes again; the whole order is known before training.
    epochs = -(-options.steps * prompts // len(rows))
    order = order_rows([0] * len(rows), 1, epochs, job.seed)[: options.steps * prompts]
    trainer_class, config = make_trainer_class(options.algorithm)
    rollouts: list[dict[str, Any]] = []
    encoder.tokenizer.padding_side = "left"
    trainer = trainer_class(
        model=str(job.base.folder),
        reward_funcs=lambda **batch: trainer.reward(**batch),
        args=config(
            **make_arguments(job, options.steps),
            beta=options.beta,
            num_generations=options.generations,
            max_completion_length=options.max_new_tokens,
            temperature=options.temperature,
            top_p=options.top_p,
            shuffle_dataset=False,
            model_init_kwargs={"dtype": "float32"},
            use_vllm=options.vllm_server is not None,
            vllm_mode="server",
            vllm_server_base_url=options.vllm_server,
        ),
        processing_class=encoder.tokenizer,
        train_dataset=Dataset.from_list(
            [{"prompt": rows[row]["dialogue"], "prompt_id": rows[row]["id"]} for row in order]
        ),
    )
    device = trainer.accelerator.device
    trainer.encoder, trainer.rollouts = encoder, rollouts
    trainer.rewarder = Rewarder(job.reward_model, encoder, job, device)
    watch = Watch(trainer, job, Rewarder(job.held_out_reward_model, encoder, job, device))
    trainer.add_callback(watch)

    def count_tokens(step: int) -> int:
        return sum(row["n_tokens"] for row in rollouts if row["step"] <= step)

    reporter = Reporter(job, options.steps, count_tokens)
    train(trainer, job, reporter, time.perf_counter() - start, watch)


if __name__ == "__main__":
    sys.exit(run_main(run, sys.argv[1]))
