"""What stops training before something broken is saved: losses and weights that are not finite."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.distributed.tensor import DTensor
from transformers import TrainerCallback

from almost_kedro.errors import UserError
from almost_kedro.training.devices import check_sharding
from almost_kedro.training.job import TrainingJob

REMEDY = "look at these rows, or lower the learning rate; the last checkpoint is kept"


class GuardedLoss:
    """Stops at a loss that is not finite; a mix-in for trainers whose batches carry row numbers."""

    row_ids: list[str]

    def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Compute the loss as the trainer does, without the row numbers.

        Raises:
            UserError: The ids of the batch's rows.
        """
        rows = inputs.pop("row")
        result = super().compute_loss(model, inputs, *args, **kwargs)  # type: ignore[misc]
        loss = result[0] if isinstance(result, tuple) else result
        if not torch.isfinite(loss):
            ids = ", ".join(self.row_ids[row] for row in rows.tolist())
            raise UserError(f"the loss is {loss.item()} at rows {ids}: {REMEDY}")
        return result


class WithRows:
    """Collates with another collator, and adds the numbers of the rows as `row`, `(batch,)`."""

    def __init__(self, collate: Callable[[list[dict[str, Any]]], dict[str, Any]]):
        """Remember the collator."""
        self.collate = collate

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        """Collate."""
        batch = self.collate(examples)
        batch["row"] = torch.tensor([example["row"] for example in examples])
        return batch


class ShardingCheck(TrainerCallback):  # type: ignore[misc]
    """Looks at the parameters that are about to be trained."""

    def __init__(self, job: TrainingJob):
        """Remember the job."""
        self.job = job

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Refuse other shards than asked for."""
        check_sharding(self.job, kwargs["model"])


def check_finite(model: torch.nn.Module, step: int, ids: list[str]) -> None:
    """Refuse weights that are not finite; each rank looks at its own shards.

    Args:
        model: What is about to be saved.
        step: Its step.
        ids: The rows of that step.

    Raises:
        UserError: Step and rows.
    """
    for parameter in model.parameters():
        own = parameter.to_local() if isinstance(parameter, DTensor) else parameter
        if not torch.isfinite(own).all():
            raise UserError(
                f"after step {step} the weights are not finite, at rows {', '.join(ids)}: {REMEDY}"
            )
