"""Scores answers with a reward model.

Run by hand: `python -m almost_kedro.training.score JOB.json ...`. For each job it writes
`rewards.jsonl` (`id`, `reward`), then `metrics.json`, which says that the job is done.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Sequence

import torch
from transformers import AutoModelForSequenceClassification

from almost_kedro.contract import ModelFolder
from almost_kedro.errors import UserError
from almost_kedro.generation.not_finite import explain
from almost_kedro.generation.number_format import choose_dtype
from almost_kedro.generation.reading import Reader, read_states
from almost_kedro.generation.side_by_side import choose_devices, compute_side_by_side
from almost_kedro.generation.trees import Batch, make_batches
from almost_kedro.models.texts import TextEncoder, check_context
from almost_kedro.processes.child import carry_out
from almost_kedro.processes.memory import measure_memory
from almost_kedro.processes.progress import Progress
from almost_kedro.rows.json_lines import read_rows, write_json, write_rows
from almost_kedro.training.job import ScoreJob
from almost_kedro.training.precision import reward_in_float32


class RewardScorer:
    """A reward model that scores token ids: the one way for all programs.

    The reward is read at a text's last token, the eos. Answers to one dialogue share its reading.
    """

    def __init__(self, model: ModelFolder, dtype: torch.dtype, device: torch.device):
        """Load a reward model to compute with `dtype` on `device`."""
        self.model = AutoModelForSequenceClassification.from_pretrained(
            model.folder, dtype=dtype, num_labels=1
        )
        self.model.to(device).eval()
        self.name, self.dtype = model.name, dtype
        reward_in_float32(self.model.score)
        states = read_states(self.model)
        self.reader = Reader(
            self.model, lambda index, **inputs: self.model.score(states(index, **inputs))
        )

    def score(
        self,
        rows: Sequence[list[int]],
        batch_tokens: int = 4096,
        progress: Progress | None = None,
        ids: Sequence[str] = (),
    ) -> list[float]:
        """Return the reward of each row; raise UserError with the row whose reward is not finite.

        Rows are token ids that end in eos. `ids` name them in errors; otherwise their numbers do.
        """
        return score_side_by_side([self], rows, batch_tokens, progress, ids)

    def score_batch(
        self, batch: Batch, rows: Sequence[list[int]], ids: Sequence[str]
    ) -> list[tuple[int, float]]:
        """Return number and reward of each row of a batch; see `score`."""
        found = []
        for number, read in self.reader.read(batch, rows, [1] * len(rows)):
            reward = float(read)
            if not math.isfinite(reward):
                raise UserError(self.refuse(ids[number] if ids else str(number), reward))
            found.append((number, reward))
        return found

    def refuse(self, row: str, reward: float) -> str:
        """Describe a reward that is not finite."""
        weights = self.model.named_parameters()
        known = explain(self.name, weights, self.dtype, "launch.dtype")
        return f"row {row!r}: its reward is {reward}; {known}"


def score_side_by_side(
    scorers: Sequence[RewardScorer],
    rows: Sequence[list[int]],
    batch_tokens: int,
    progress: Progress | None,
    ids: Sequence[str],
) -> list[float]:
    """Score rows with several copies of a reward model; see `RewardScorer.score`."""
    width = scorers[0].model.config.get_text_config().hidden_size
    batches = list(make_batches(rows, [1] * len(rows), width, batch_tokens, batch_tokens))
    rewards = [0.0] * len(rows)
    for found in compute_side_by_side(
        scorers, batches, lambda scorer, batch: scorer.score_batch(batch, rows, ids)
    ):
        for number, reward in found:
            rewards[number] = reward
        if progress:
            progress.add_tokens(sum(len(rows[number]) for number, _ in found))
            progress.add_rows(len(found))
    return rewards


def measure_padding(
    scorer: RewardScorer, rows: Sequence[list[int]], rewards: Sequence[float], n: int
) -> float:
    """Return how rewards differ between rows alone and in batches (root mean square).

    The largest difference would grow with the number of rows, and be due to rounding. `n` rows are
    compared, from the shortest to the longest.
    """
    order = sorted(range(len(rows)), key=lambda row: len(rows[row]))
    chosen = {order[i * (len(order) - 1) // max(1, n - 1)] for i in range(min(n, len(order)))}
    differences = [scorer.score([rows[row]])[0] - rewards[row] for row in sorted(chosen)]
    return math.sqrt(sum(each**2 for each in differences) / max(1, len(differences)))


def run_job(job: ScoreJob) -> None:
    """Score the rows."""
    start = time.perf_counter()
    check_context(job.model, job.max_length, "reward_model.max_length")
    rows = list(read_rows(job.rows))
    encoder = TextEncoder(job.model, job.separator, job.max_length)
    texts = [sequence.ids for sequence in encoder.encode_rows(rows, "answer")]
    devices = choose_devices(job.replicas)
    dtype = choose_dtype(job.dtype, devices[0])
    scorers = [RewardScorer(job.model, dtype, device) for device in devices]
    loaded = time.perf_counter()
    progress = Progress(f"rewards ({job.model.name})", len(rows))
    ids = [row["id"] for row in rows]
    rewards = score_side_by_side(scorers, texts, job.batch_tokens, progress, ids)
    seconds = time.perf_counter() - loaded
    progress.finish()
    write_rows(
        job.out / "rewards.jsonl",
        ({"id": id_, "reward": reward} for id_, reward in zip(ids, rewards, strict=True)),
    )
    tokens = sum(map(len, texts))
    metrics = {
        "rows": len(rows),
        "tokens": tokens,
        "tokens_per_second": round(tokens / seconds, 1) if tokens else 0.0,
        "padding_difference": measure_padding(scorers[0], texts, rewards, job.check_padding),
        "load_seconds": round(loaded - start, 2),
        "seconds": round(time.perf_counter() - start, 2),
        **measure_memory(),
    }
    write_json(job.out / "metrics.json", metrics)


def main(*job_files: str) -> int:
    """Carry out job files; return the exit status, with one line on stderr if it failed."""
    return carry_out(lambda text: run_job(ScoreJob.model_validate_json(text)), *job_files)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
