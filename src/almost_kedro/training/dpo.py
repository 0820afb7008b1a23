"""Trains a policy on comparisons by direct preference optimisation; a program started by `launch`.

The loss of a pair is -log sigmoid(beta * (log-ratio of chosen - log-ratio of rejected)) (Rafailov
et al. 2023, "Direct Preference Optimization"). An answer's log-ratio is its log-probability by the
policy minus that by the reference, its eos included. The rows bring the reference's, so no rank
loads a reference model.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch
from datasets import Dataset
from torch.nn.utils.rnn import pad_sequence
from transformers import Trainer
from trl import DPOConfig, DPOTrainer

from almost_kedro.generation.endings import find_end_ids
from almost_kedro.models.texts import TextEncoder, check_context
from almost_kedro.options.training import DPOOptions
from almost_kedro.training.answers import AnswerReader
from almost_kedro.training.batches import make_schedule
from almost_kedro.training.guards import GuardedLoss, WithRows
from almost_kedro.training.job import TrainingJob
from almost_kedro.training.lm_head import use_plain_head
from almost_kedro.training.lora import (
    choose_weights,
    find_network,
    make_adapter,
    train_in_float32,
)
from almost_kedro.training.over_optimisation import MarginWatch
from almost_kedro.training.padding import pad_texts
from almost_kedro.training.precision import choose_attention, use_bfloat16_copies
from almost_kedro.training.reporter import Reporter
from almost_kedro.training.rewarders import VisitingRewarder
from almost_kedro.training.rollouts import AnswerMixin, use_engine
from almost_kedro.training.trainer import (
    find_dropout,
    keep_dropout,
    make_arguments,
    read_job_rows,
    train_model,
)

SIDES = ("chosen", "rejected")


class WithoutReference(Trainer):  # type: ignore[misc]
    """Keeps DPOTrainer from loading a reference where the policy is sharded.

    It stands between DPOTrainer and transformers' Trainer: DPOTrainer makes the trainer below, then
    asks whether it shards, and at its end computes the reference's log-probabilities, which the
    rows have already. In between, it is told no.
    """

    is_fsdp_enabled: bool

    def __init__(self, *args: Any, **kwargs: Any):
        """Make the trainer, then hide that it shards."""
        super().__init__(*args, **kwargs)
        self.shards, self.is_fsdp_enabled = self.is_fsdp_enabled, False


class GuardedDPOTrainer(GuardedLoss, AnswerMixin, DPOTrainer, WithoutReference):  # type: ignore[misc]
    """TRL's trainer on our token ids, which stops at a loss that is not finite."""

    def _prepare_dataset(self, dataset: Dataset, *args: Any) -> Dataset:
        return dataset  # tokenised by us

    def _precompute_ref_logps(self, dataset: Dataset, *args: Any) -> Dataset:
        self.is_fsdp_enabled = self.shards
        return dataset


class PairCollator:
    """Pads pairs as DPOTrainer reads them: all chosen texts, then all rejected ones.

    TRL's own collator gives both texts one prompt. Here the longer one may have lost more of it.
    """

    def __init__(self, pad: int):
        """Remember the id that pads."""
        self.pad = pad

    def __call__(self, examples: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Return tensors, (2 x pairs, length); the reference's log-probabilities are (pairs,)."""
        texts = [example[side] for side in SIDES for example in examples]
        masks = [torch.tensor(text["completion_mask"]) for text in texts]
        logps = {
            name: torch.tensor([example[name] for example in examples])
            for name in (f"ref_{side}_logps" for side in SIDES)
        }
        return {
            **pad_texts([text["ids"] for text in texts], self.pad),
            "completion_mask": pad_sequence(masks, batch_first=True),
            **logps,
        }


def make_examples(
    rows: Sequence[dict[str, Any]], encoder: TextEncoder
) -> list[dict[str, dict[str, list[int]]]]:
    """Tokenise both texts of each row; the completion mask is 1 at the answer and its eos."""
    sides = [encoder.encode_rows(rows, side) for side in SIDES]
    return [
        {
            side: {
                "ids": text.ids,
                "completion_mask": [0] * len(text.dialogue) + [1] * len(text.answer),
            }
            for side, text in zip(SIDES, texts, strict=True)
        }
        for texts in zip(*sides, strict=True)
    ]


def run(job: TrainingJob) -> None:
    """Train."""
    start = time.perf_counter()
    options = job.options
    assert isinstance(options, DPOOptions)
    assert job.held_out_reward_model
    check_context(job.base, options.max_length, "dpo.max_length")
    rows = read_job_rows(job)
    encoder = TextEncoder(job.base, job.separator, options.max_length)
    pairs = make_examples(rows, encoder)
    lengths = [[len(pair[side]["ids"]) for side in SIDES] for pair in pairs]
    widths = [max(each) for each in lengths]
    schedule = make_schedule(
        widths,
        [sum(each) for each in lengths],
        options.batch_size * options.accumulation * job.ranks,
        options.epochs,
        job.seed,
    )
    logps = [f"ref_{side}_logps" for side in SIDES]
    examples = [
        {**pairs[row], **{name: rows[row][name] for name in logps}, "row": row}
        for row in schedule.order
    ]
    # With dropout, the policy would not begin as the reference.
    dropout = find_dropout(job)
    loading = {
        **choose_weights(job),
        **choose_attention(job, widths),
        **dict.fromkeys(dropout, 0.0),
    }
    trainer = GuardedDPOTrainer(
        model=str(job.base.folder),
        args=DPOConfig(
            **make_arguments(job, schedule.n_steps),
            beta=options.beta,
            max_length=None,
            precompute_ref_log_probs=True,
            model_init_kwargs=loading,
        ),
        processing_class=encoder.tokenizer,
        train_dataset=Dataset.from_list(examples),
        data_collator=WithRows(PairCollator(encoder.pad)),
        **make_adapter(job),
    )
    network = find_network(trainer.model)
    train_in_float32(trainer.model)
    keep_dropout(network, dropout)
    use_plain_head(network, mean_logits=True)
    use_bfloat16_copies(network, job)
    trainer.row_ids = [row["id"] for row in rows]
    watch = make_watch(trainer, job, options)
    trainer.add_callback(watch)

    def get_ids(step: int) -> list[str]:
        return [trainer.row_ids[row] for row in schedule.get_rows(step)]

    reporter = Reporter(job, schedule.n_steps, schedule.count_tokens, get_ids)
    train_model(trainer, job, reporter, time.perf_counter() - start, watch)


def make_watch(trainer: GuardedDPOTrainer, job: TrainingJob, options: DPOOptions) -> MarginWatch:
    """Let the policy answer the watch's prompts, and the held-out reward model judge it."""
    assert job.held_out_reward_model
    # Prompt and answer together fit where a pair does.
    length = options.max_length - options.watch.max_new_tokens
    trainer.encoder = TextEncoder(job.base, job.separator, length)
    ends = find_end_ids(trainer.model.generation_config, trainer.encoder.encoder.end_ids)
    trainer.eos_token_ids = sorted(ends)
    trainer.reader = AnswerReader(trainer.encoder, job, ends)
    use_engine(trainer.model, job, ends)
    held_out = VisitingRewarder(job.held_out_reward_model, job, trainer.accelerator.device)
    return MarginWatch(trainer, job, held_out)
