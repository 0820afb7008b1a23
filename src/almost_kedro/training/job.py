"""The job file of a training program, as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator

from almost_kedro.contract import ModelFolder, digest, tell_version
from almost_kedro.options.launch import LaunchOptions
from almost_kedro.options.reward_model import RewardModelOptions
from almost_kedro.options.rules import Rules
from almost_kedro.options.training import (
    DPOOptions,
    RLOptions,
    SFTOptions,
    TrainingOptions,
)

# Raised by hand when the same job leads to other weights (rl: or other rollouts, rewards, watch;
# dpo: or another watch):
# kept models are then trained again.
# 2: the first step's learning rate is above 0; the weights that bfloat16 computed with are saved;
# padding of its own; rollouts are without dropout, and cut like the reward model's answers.
# rl 3, dpo 2: the watch's answers are drawn side by side.
TRAINING_VERSIONS: Mapping[str, int] = MappingProxyType({"reward": 2, "sft": 2, "rl": 3, "dpo": 2})
# Raised by hand when sharded training alone leads to other weights, whatever the program is.
# 2: log-probabilities and rewards are not rounded to bfloat16.
SHARDED_VERSION = 2
# Raised by hand when the watch of several ranks leads to other scores (rl, dpo).
# 2: each rank answers its share of the prompts.
WATCH_VERSION = 2
# Raised by hand when the same job leads to other rewards: kept ones are then scored again.
# 2: rewards that are not finite are refused instead of kept; the head computes in float32.
SCORE_VERSION = 2
# In a work folder: the model as training saved it, and as others use it (see `served`).
MODEL, SERVED = "model", "served"


class RewardMembers(BaseModel):
    """Reward models that reward rollouts together with the job's `reward_model`, as one.

    Attributes:
        models: The others.
        scales: Mean and standard deviation of everybody's rewards, the job's `reward_model` first
            (see `feedback.ensemble`).
        penalty: What disagreement costs.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    models: list[ModelFolder]
    scales: list[tuple[float, float]]
    penalty: float


class TrainingJob(BaseModel):
    """One training run; `program` is a module in `almost_kedro.training`.

    Attributes:
        base: Weights to start from.
        rows: JSON lines: `id`, `dialogue`, and `chosen` and `rejected` (reward, dpo), `answer`
            (sft) or nothing (rl: the policy answers). For dpo also `ref_chosen_logps` and
            `ref_rejected_logps`, what the base makes of both answers, in nats.
        watch_rows: Dialogues that the policy answers for the over-optimisation watch (rl, dpo).
        reward_model: Rewards the rollouts (rl).
        members: Who rewards them together with it; None: nobody (rl).
        held_out_reward_model: Judges in the watch (rl, dpo).
        reward_max_length: Tokens that both reward models were trained on; a longer text loses its
            beginning, as it did there. None: nothing is cut (rl, dpo).
        separator: Text between a dialogue and its answer.
        rules: How answers are cut before they are rewarded (rl, dpo).
        accelerate: The configuration file for `accelerate launch`.
        out: The work folder.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    program: Literal["reward", "sft", "rl", "dpo"]
    name: str
    base: ModelFolder
    rows: Path
    rows_sha256: str
    watch_rows: Path | None = None
    watch_sha256: str | None = None
    reward_model: ModelFolder | None = None
    members: RewardMembers | None = None
    held_out_reward_model: ModelFolder | None = None
    reward_max_length: int | None = None
    options: RewardModelOptions | SFTOptions | RLOptions | DPOOptions
    separator: str
    rules: Rules = "corrected"
    seed: int
    launch: LaunchOptions
    accelerate: Path
    out: Path

    @field_validator("options", mode="before")
    @classmethod
    def read_options(cls, value: Any, info: ValidationInfo) -> Any:
        """Read the options by program: those of two programs may look alike."""
        kinds: dict[str, type[TrainingOptions]] = {
            "reward": RewardModelOptions,
            "sft": SFTOptions,
            "rl": RLOptions,
            "dpo": DPOOptions,
        }
        if isinstance(value, dict) and info.data.get("program") in kinds:
            return kinds[info.data["program"]].model_validate(value)
        return value

    @property
    def ranks(self) -> int:
        """How many ranks train, on all nodes."""
        return self.launch.processes * self.launch.nodes

    def identity(self) -> str:
        """Return what decides the trained weights: options, data, parents and number of ranks.

        Folders, ports and names are not part of it, so a work folder can be moved.
        """
        launch = self.launch
        parents = [
            model and identify_model(model)
            for model in (self.base, self.reward_model, self.held_out_reward_model)
        ]
        parts: list[Any] = [self.program, parents, self.rows_sha256, self.watch_sha256]
        parts += [self.options.model_dump(mode="json"), self.separator, self.seed]
        if self.reward_max_length:
            parts.append(self.reward_max_length)
        if self.program in ("rl", "dpo"):
            parts.append(self.rules)
        if self.members:
            parts += [[identify_model(model) for model in self.members.models]]
            parts += [self.members.scales, self.members.penalty]
        parts += [launch.config, self.ranks, launch.dtype]
        if launch.config == "fsdp":
            parts.append(["sharded", *tell_version(SHARDED_VERSION)])
        if self.ranks > 1 and self.program in ("rl", "dpo"):
            parts.append(["watch", *tell_version(WATCH_VERSION)])
        return digest(*parts, *tell_version(TRAINING_VERSIONS[self.program]))


def identify_model(model: ModelFolder) -> list[Any]:
    """Return what decides what a model computes."""
    return [model.fingerprint, model.bos, *filter(None, [model.pad_token, model.template])]


class ScoreJob(BaseModel):
    """Rewards for rows of dialogue and answer.

    Attributes:
        rows: JSON lines: `id`, `dialogue`, `answer`.
        separator: Text between a dialogue and its answer.
        max_length: Tokens; longer texts lose their beginning.
        batch_tokens: Tokens computed at once.
        check_padding: How many rows are scored again alone, to measure what other rows change.
        replicas: GPUs that each have a copy of the model; `auto`: all.
        out: The work folder.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: ModelFolder
    rows: Path
    rows_sha256: str
    separator: str
    max_length: int
    batch_tokens: int = 4096
    dtype: Literal["auto", "bfloat16", "float32"] = "auto"
    check_padding: int = 16
    replicas: int | Literal["auto"] = 1
    out: Path

    def identity(self) -> str:
        """Return what decides the rewards."""
        return digest(
            self.model.fingerprint,
            self.model.bos,
            self.rows_sha256,
            self.separator,
            self.max_length,
            self.dtype,
            self.check_padding,
            *tell_version(SCORE_VERSION),
        )
