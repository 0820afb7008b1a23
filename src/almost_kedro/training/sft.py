"""Fine-tunes a language model on demonstrations (rule 22); a program started by `launch`."""

from __future__ import annotations

import time

from datasets import Dataset
from trl import SFTConfig, SFTTrainer
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from almost_kedro.models.texts import TextEncoder, check_context
from almost_kedro.options.training import SFTOptions
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
from almost_kedro.training.precision import choose_attention, use_bfloat16_copies
from almost_kedro.training.reporter import Reporter
from almost_kedro.training.sharding import OwnOutputs
from almost_kedro.training.trainer import make_arguments, read_job_rows, train_model


class GuardedSFTTrainer(GuardedLoss, OwnOutputs, SFTTrainer):  # type: ignore[misc]
    """TRL's trainer, which stops at a loss that is not finite."""


def run(job: TrainingJob) -> None:
    """Train."""
    start = time.perf_counter()
    options = job.options
    assert isinstance(options, SFTOptions)
    check_context(job.base, options.max_length, "sft.max_length")
    rows = read_job_rows(job)
    encoder = TextEncoder(job.base, job.separator, options.max_length)
    sequences = encoder.encode_rows(rows, "answer")
    lengths = [len(sequence.ids) for sequence in sequences]
    step_rows = options.batch_size * options.accumulation * job.ranks
    schedule = make_schedule(lengths, lengths, step_rows, options.epochs, job.seed)
    examples = [
        {"input_ids": sequences[row].ids, "labels": sequences[row].labels, "row": row}
        for row in schedule.order
    ]
    trainer = GuardedSFTTrainer(
        model=str(job.base.folder),
        args=SFTConfig(
            **make_arguments(job, schedule.n_steps),
            max_length=None,
            model_init_kwargs={**choose_weights(job), **choose_attention(job, lengths)},
        ),
        processing_class=encoder.tokenizer,
        train_dataset=Dataset.from_list(examples),
        data_collator=WithRows(DataCollatorForLanguageModeling(pad_token_id=encoder.pad)),
        **make_adapter(job),
    )
    network = find_network(trainer.model)
    train_in_float32(trainer.model)
    use_plain_head(network)
    use_bfloat16_copies(network, job)
    trainer.row_ids = [row["id"] for row in rows]

    def get_ids(step: int) -> list[str]:
        return [trainer.row_ids[row] for row in schedule.get_rows(step)]

    reporter = Reporter(job, schedule.n_steps, schedule.count_tokens, get_ids)
    train_model(trainer, job, reporter, time.perf_counter() - start)
