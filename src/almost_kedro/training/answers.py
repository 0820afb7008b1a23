"""Reads the answers of rollouts in the same way as all other answers."""

from __future__ import annotations

from collections.abc import Collection

from almost_kedro.contract import Completion, Sampling
from almost_kedro.feedback.responses import STOPS, extract_answer
from almost_kedro.generation.endings import Endings
from almost_kedro.models.texts import TextEncoder
from almost_kedro.options.training import DPOOptions, RLOptions
from almost_kedro.training.job import TrainingJob

# A maximum length that cuts nothing.
NO_LIMIT = 2**31


class AnswerReader:
    """Reads a policy's answers in the same way as the reward model's training answers."""

    def __init__(self, encoder: TextEncoder, job: TrainingJob, end_ids: Collection[int]):
        """Say what ends an answer: `end_ids`, and by the job's rules the strings of rule 11."""
        self.rules = job.rules
        self.sampling = make_sampling(job)
        self.endings = Endings(encoder.tokenizer, end_ids, self.sampling)

    def cut(self, ids: list[int]) -> list[int]:
        """Return ids up to and including the one that ended the answer."""
        ended = (n for n in range(1, len(ids)) if self.endings.complete(ids[:n]))
        return ids[: next(ended, len(ids))]

    def read(self, ids: list[int]) -> tuple[str, Completion]:
        """Return the text after rule 11 and the completion of an answer that `cut` returned."""
        completion = self.endings.complete(ids)
        assert completion
        return extract_answer(completion.text, completion.finish_reason, self.rules), completion


def make_sampling(job: TrainingJob) -> Sampling:
    """Return how the policy writes in training: its rollouts (rl), or for the watch alone (dpo)."""
    options = job.options
    assert isinstance(options, RLOptions | DPOOptions)
    drawn = options if isinstance(options, RLOptions) else options.watch
    return Sampling(drawn.temperature, drawn.top_p, drawn.max_new_tokens, list_stops(job))


def list_stops(job: TrainingJob) -> tuple[str, ...]:
    """Return the strings that end an answer, as in the test of policies."""
    return STOPS if job.rules == "corrected" else ()
