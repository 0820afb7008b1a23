"""Trains a reward model on comparisons (rules 19 to 21); a program started by `launch`.

The loss of a pair is -log sigmoid(reward of chosen - reward of rejected). The reward is a bias-free
linear head at the eos token (rule 20). Rows may have answers to other prompts, too: `mismatched`.
"""

from __future__ import annotations

import re
import time

import torch
from datasets import Dataset
from transformers import AutoConfig, PreTrainedModel
from trl import RewardConfig, RewardTrainer

from almost_kedro.contract import ModelFolder
from almost_kedro.errors import UserError
from almost_kedro.models.checks.network import explain_missing_head
from almost_kedro.models.texts import TextEncoder, check_context
from almost_kedro.models.tokens import is_text
from almost_kedro.options.reward_model import RewardModelOptions
from almost_kedro.training.batches import make_schedule
from almost_kedro.training.guards import GuardedLoss, WithRows
from almost_kedro.training.job import TrainingJob
from almost_kedro.training.lora import (
    choose_weights,
    find_head,
    find_network,
    make_adapter,
    train_in_float32,
)
from almost_kedro.training.mismatched import MismatchedLoss, PairCollator, check_mismatched
from almost_kedro.training.precision import choose_attention, reward_in_float32, use_bfloat16_copies
from almost_kedro.training.reporter import Reporter
from almost_kedro.training.sharding import OwnOutputs
from almost_kedro.training.trainer import make_arguments, read_job_rows, train_model

# Names of special tokens that nothing else uses.
SPARE = re.compile("pad|reserved|unused", re.IGNORECASE)


class GuardedRewardTrainer(GuardedLoss, MismatchedLoss, OwnOutputs, RewardTrainer):  # type: ignore[misc]
    """TRL's trainer, with the loss of mismatched pairs; it stops at one that is not finite."""


def check_architecture(model: ModelFolder) -> None:
    """Raise UserError if transformers can't put a reward head on the model."""
    config = AutoConfig.from_pretrained(model.folder, trust_remote_code=model.trust_remote_code)
    if reason := explain_missing_head(config):
        raise UserError(f"model {model.name!r}: {reason}")


def choose_pad(encoder: TextEncoder) -> int:
    """Have the tokenizer pad with a token that no text holds; add one if there is none.

    A reward model reads the last token that is not padding. So whoever scores several texts at once
    finds the end of each by the padding.
    """
    tokenizer = encoder.tokenizer
    taken = {encoder.eos, *encoder.encoder.bos}
    named: list[tuple[int, str]] = [
        (id_, str(token))
        for id_, token in sorted(tokenizer.added_tokens_decoder.items())
        if token.special and SPARE.search(str(token))
    ]
    for id_, token in [(encoder.pad, tokenizer.pad_token), *named]:
        if id_ not in taken and not is_text(tokenizer, id_):
            tokenizer.pad_token = token
            return id_
    new = "<|pad|>"
    while new in tokenizer.get_vocab():
        new = f"<{new}>"
    tokenizer.add_special_tokens({"pad_token": new})
    pad: int = tokenizer.pad_token_id
    return pad


def add_row(model: PreTrainedModel, token: int) -> None:
    """Give a token an embedding, unless it has one: zeros, since nothing is read there."""
    rows = model.get_input_embeddings().num_embeddings
    if token >= rows:
        model.resize_token_embeddings(token + 1, mean_resizing=False)
        with torch.no_grad():
            model.get_input_embeddings().weight[rows:] = 0


def run(job: TrainingJob) -> None:
    """Train."""
    start = time.perf_counter()
    options = job.options
    assert isinstance(options, RewardModelOptions)
    check_architecture(job.base)
    check_context(job.base, options.max_length, "reward_model.max_length")
    rows = read_job_rows(job)
    encoder = TextEncoder(job.base, job.separator, options.max_length)
    pad = choose_pad(encoder)
    chosen = [sequence.ids for sequence in encoder.encode_rows(rows, "chosen")]
    rejected = [sequence.ids for sequence in encoder.encode_rows(rows, "rejected")]
    check_mismatched(rows)
    others = [
        [encoder.encode(row["dialogue"], text).ids for text in row.get("mismatched", [])]
        for row in rows
    ]
    lengths = [
        [len(ids) for ids in (a, b, *wrong)]
        for a, b, wrong in zip(chosen, rejected, others, strict=True)
    ]
    widths = [max(each) for each in lengths]
    schedule = make_schedule(
        widths,
        [sum(each) for each in lengths],
        options.batch_size * options.accumulation * job.ranks,
        options.epochs,
        job.seed,
    )
    examples = [
        {
            "chosen_ids": chosen[row],
            "rejected_ids": rejected[row],
            "mismatched_ids": others[row],
            "mismatched_weight": float(rows[row].get("mismatched_weight", 0)),
            "row": row,
        }
        for row in schedule.order
    ]
    trainer = GuardedRewardTrainer(
        model=str(job.base.folder),
        args=RewardConfig(
            **make_arguments(job, schedule.n_steps),
            max_length=None,
            model_init_kwargs={**choose_weights(job), **choose_attention(job, widths)},
        ),
        processing_class=encoder.tokenizer,
        train_dataset=Dataset.from_list(examples),
        data_collator=WithRows(PairCollator(pad)),
        **make_adapter(job),
    )
    network = find_network(trainer.model)
    train_in_float32(trainer.model)
    add_row(network, pad)
    reward_in_float32(find_head(network))
    use_bfloat16_copies(network, job)
    trainer.row_ids = [row["id"] for row in rows]

    def get_ids(step: int) -> list[str]:
        return [trainer.row_ids[row] for row in schedule.get_rows(step)]

    reporter = Reporter(job, schedule.n_steps, schedule.count_tokens, get_ids)
    train_model(trainer, job, reporter, time.perf_counter() - start)
