"""Reward models in training: they reward rollouts, and judge in the watch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from almost_kedro.contract import ModelFolder
from almost_kedro.feedback.ensemble import Scale, combine_rewards
from almost_kedro.generation.number_format import choose_dtype
from almost_kedro.models.texts import TextEncoder, check_context
from almost_kedro.training.answers import NO_LIMIT
from almost_kedro.training.job import TrainingJob
from almost_kedro.training.score import RewardScorer
from almost_kedro.training.sharding import read_by_each_rank


class Rewarder:
    """Rewards answers exactly as in the reward model's training."""

    def __init__(self, model: ModelFolder, job: TrainingJob, device: Any):
        """Load a reward model."""
        if job.reward_max_length:
            check_context(model, job.reward_max_length, "reward_model.max_length")
        self.encoder = TextEncoder(model, job.separator, job.reward_max_length or NO_LIMIT)
        dtype = choose_dtype(job.launch.dtype, device)
        with read_by_each_rank():
            self.scorer = RewardScorer(model, dtype, device)

    def reward(
        self, dialogues: Sequence[str], answers: Sequence[str], ids: Sequence[str] = ()
    ) -> list[float]:
        """Return the reward of each answer; raise UserError if one is not finite.

        The reward is read at the eos after each answer, which rule 11 has cut.
        """
        pairs = zip(dialogues, answers, strict=True)
        return self.scorer.score([self.encoder.encode(*pair).ids for pair in pairs], ids=ids)


class VisitingRewarder(Rewarder):
    """Is on its device only while it rewards, and in main memory otherwise.

    For the held-out reward model, which is asked every few steps: training has the room.
    """

    def __init__(self, model: ModelFolder, job: TrainingJob, device: Any):
        """Load a reward model."""
        super().__init__(model, job, device)
        self.device = device
        self.scorer.model.to("cpu")

    def reward(
        self, dialogues: Sequence[str], answers: Sequence[str], ids: Sequence[str] = ()
    ) -> list[float]:
        """Return the reward of each answer; raise UserError if one is not finite."""
        self.scorer.model.to(self.device)
        try:
            return super().reward(dialogues, answers, ids)
        finally:
            self.scorer.model.to("cpu")


class Rewarders:
    """Rewards answers by several reward models as one (`feedback.ensemble`)."""

    def __init__(self, job: TrainingJob, device: Any):
        """Load the job's reward model and its members."""
        assert job.reward_model
        assert job.members
        models = [job.reward_model, *job.members.models]
        self.rewarders = [Rewarder(model, job, device) for model in models]
        self.scales = [Scale(*scale) for scale in job.members.scales]
        self.penalty = job.members.penalty

    def reward(
        self, dialogues: Sequence[str], answers: Sequence[str], ids: Sequence[str] = ()
    ) -> list[float]:
        """Return the reward of each answer; raise UserError if a member's is not finite."""
        found = [each.reward(dialogues, answers, ids) for each in self.rewarders]
        return [each.reward for each in combine_rewards(found, self.scales, self.penalty)]
