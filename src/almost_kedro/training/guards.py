"""Stops training before something broken is saved: losses and weights that are not finite."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from transformers import TrainerCallback

from almost_kedro.errors import UserError
from almost_kedro.generation.not_finite import describe, find_broken
from almost_kedro.training.devices import check_sharding
from almost_kedro.training.job import TrainingJob

REMEDY = (
    "the last checkpoint is kept; what may help is a lower learning_rate, launch.dtype: float32, "
    "or to leave these rows out"
)


class GuardedLoss:
    """Stops at a loss that is not finite; a mix-in for trainers whose batches have row numbers."""

    args: Any
    row_ids: list[str]

    def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Compute the loss without the row numbers; if not finite, UserError gives the row ids."""
        rows = inputs.pop("row")
        result = super().compute_loss(model, inputs, *args, **kwargs)  # type: ignore[misc]
        loss = result[0] if isinstance(result, tuple) else result
        if not torch.isfinite(loss):
            ids = ", ".join(self.row_ids[row] for row in rows.tolist())
            known = describe(model.named_parameters(), choose_number(self.args))
            raise UserError(f"the loss is {loss.item()} at rows {ids}; {known}; {REMEDY}")
        return result


def choose_number(args: Any) -> torch.dtype:
    """Return the number format a trainer computes with; its weights are always float32."""
    return torch.bfloat16 if args.bf16 else torch.float32


class WithRows:
    """Collates with another collator, and adds the row numbers as `row`, `(batch,)`."""

    def __init__(self, collate: Callable[[list[dict[str, Any]]], dict[str, Any]]):
        """Remember the collator."""
        self.collate = collate

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        """Collate."""
        batch = self.collate(examples)
        batch["row"] = torch.tensor([example["row"] for example in examples])
        return batch


class ShardingCheck(TrainerCallback):  # type: ignore[misc]
    """Checks the parameters before training starts."""

    def __init__(self, job: TrainingJob):
        """Remember the job."""
        self.job = job

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Refuse shards where copies were asked for, or the reverse."""
        check_sharding(self.job, kwargs["model"])


def check_finite(model: torch.nn.Module, step: int, ids: list[str]) -> None:
    """Raise UserError, with step and row ids, if this rank's weights to be saved are not finite."""
    if broken := find_broken(model.named_parameters()):
        raise UserError(
            f"after step {step} the weights are not finite ({broken}), at rows {', '.join(ids)}; "
            f"{REMEDY}"
        )
