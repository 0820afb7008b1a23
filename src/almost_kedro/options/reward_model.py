"""Options of reward models: how they are trained, filtered and tested."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from almost_kedro.options.block import Block, Positive, Share
from almost_kedro.options.training import TrainingOptions


class RewardModelOptions(TrainingOptions):
    """Reward model (rules 19 to 21)."""

    model: str = Field(description="Name in models.yml of what it starts from")
    epochs: Positive = Field(1, description="Passes over the comparisons")
    max_length: Positive = Field(1024, description="Tokens; longer texts lose their beginning")


class MismatchedOptions(Block):
    """Pairs of a chosen answer with answers to other prompts (in-batch negatives)."""

    per_pair: Positive = Field(1, description="Other prompts' answers beside each comparison")
    weight: float = Field(
        0.5,
        gt=0,
        allow_inf_nan=False,
        description="Weight of their mean loss; that of the comparisons has 1",
    )


class RewardModelsOptions(RewardModelOptions):
    """Reward models: how each is trained, on which pairs besides, and how many are one."""

    mismatched: MismatchedOptions | None = Field(
        None, description="Also learn from answers to other prompts; null: no"
    )
    ensemble: Positive | list[str] = Field(
        1,
        description="Reward models that reward together: so many, alike but for their seeds, or "
        "one for each of these contrasts, trained on its comparisons alone (a list, or with + "
        "between the names)",
    )
    ensemble_penalty: float = Field(
        0.5,
        ge=0,
        allow_inf_nan=False,
        description="What their disagreement costs: of the mean of their rewards, so many of their "
        "standard deviations are taken off",
    )

    @field_validator("ensemble", mode="before")
    @classmethod
    def split_names(cls, ensemble: object) -> object:
        """Read names with + between them, as the command line gives them."""
        return ensemble.split("+") if isinstance(ensemble, str) else ensemble

    @field_validator("ensemble")
    @classmethod
    def check_ensemble(cls, ensemble: int | list[str]) -> int | list[str]:
        """Refuse contrasts that are no ensemble."""
        if not isinstance(ensemble, int):
            if len(ensemble) < 2:
                raise ValueError("an ensemble of contrasts needs two or more; name another, or 1")
            if len(set(ensemble)) < len(ensemble):
                raise ValueError("a contrast is named twice; keep one")
        return ensemble

    @property
    def contrasts(self) -> list[str]:
        """The contrasts that members are trained on; of other ensembles there are none."""
        return [] if isinstance(self.ensemble, int) else self.ensemble

    @property
    def n_members(self) -> int:
        """How many reward together."""
        return self.ensemble if isinstance(self.ensemble, int) else len(self.ensemble)

    @property
    def training(self) -> RewardModelOptions:
        """What the training program has of them; its rows have the other pairs."""
        return RewardModelOptions(**{name: getattr(self, name) for name in TRAINED_WITH})


# What a reward model's training is identified by, besides its rows.
TRAINED_WITH = tuple(RewardModelOptions.model_fields)


class AsIsFilterOptions(Block):
    """Post-validation (rule 25): a reward model trained on existing pairs drops comparisons."""

    enabled: bool = Field(False, description="Drop comparisons that the as-is model disagrees with")
    pairs: str | None = Field(
        None, description="JSON lines file of what it is trained on: prompt, chosen, rejected"
    )
    hub_dataset: str | None = Field(
        None, description="Dataset with these columns on the Hugging Face hub, instead of a file"
    )
    hub_split: str = Field("train", description="Its split; train[:1000] is its first 1000 rows")
    max_pairs: Positive | None = Field(None, description="Use the first so many; null: all")

    @model_validator(mode="after")
    def check_source(self) -> AsIsFilterOptions:
        """Refuse a filter with no pairs to train on, or with two kinds."""
        if self.enabled and (self.pairs is None) == (self.hub_dataset is None):
            given = "both are" if self.pairs is not None else "none is"
            raise ValueError(f"give one of pairs and hub_dataset; {given} given")
        return self


class GateOptions(Block):
    """What a reward model must show on held-out prompts before it may train a policy."""

    on_failure: Literal["stop", "warn"] = Field("stop", description="What failing does")
    max_padding_share: Share = Field(
        0.1,
        description="Largest change of rewards by padding (root mean square), as a share of the "
        "margins' standard deviation; in bfloat16, rounding alone makes some hundredths",
    )
    max_calibration_error: Share = Field(0.15, description="Largest expected calibration error")
