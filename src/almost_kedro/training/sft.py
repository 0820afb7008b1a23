"""Fine-tunes a language model on demonstrations (rule 22); a program started by `launch`."""

from __future__ import annotations

import sys
import time
from itertools import accumulate

from datasets import Dataset
from trl import SFTConfig, SFTTrainer
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from almost_kedro.training.batches import order_rows
from almost_kedro.training.job import TrainingJob
from almost_kedro.training.texts import TextEncoder
from almost_kedro.training.trainer import (
    GuardedLoss,
    Reporter,
    WithRows,
    make_arguments,
    read_job_rows,
    run_main,
    train,
)
from almost_kedro.training_options import SFTOptions


class GuardedSFTTrainer(GuardedLoss, SFTTrainer):  # type: ignore[misc]
    """TRL's trainer, which stops at a loss that is not finite."""


def run(job: TrainingJob) -> None:
    """Train."""
    start = time.perf_counter()
    options = job.options
    assert isinstance(options, SFTOptions)
    rows = read_job_rows(job)
    encoder = TextEncoder(job.base, job.separator, options.max_length)
    sequences = encoder.encode_rows(rows, "answer")
    lengths = [len(sequence.ids) for sequence in sequences]
    step_rows = options.batch_size * options.accumulation * job.ranks
    order = order_rows(lengths, step_rows, options.epochs, job.seed)
    n_steps = -(-len(order) // step_rows)
    seen = list(accumulate((lengths[row] for row in order), initial=0))
    reporter = Reporter(job, n_steps, lambda step: seen[min(step * step_rows, len(order))])
    examples = [
        {"input_ids": sequences[row].ids, "labels": sequences[row].labels, "row": row}
        for row in order
    ]
    trainer = GuardedSFTTrainer(
        model=str(job.base.folder),
        args=SFTConfig(
            **make_arguments(job, n_steps),
            max_length=None,
            model_init_kwargs={"dtype": "float32"},
        ),
        processing_class=encoder.tokenizer,
        train_dataset=Dataset.from_list(examples),
        data_collator=WithRows(DataCollatorForLanguageModeling(pad_token_id=encoder.pad)),
    )
    trainer.row_ids = [row["id"] for row in rows]
    train(trainer, job, reporter, time.perf_counter() - start)


if __name__ == "__main__":
    sys.exit(run_main(run, sys.argv[1]))
