"""The loss of mismatched pairs, beside that of the comparisons.

The loss of a row is

    -log sigmoid(r(chosen) - r(rejected))
        + weight * mean over its mismatched answers of -log sigmoid(r(chosen) - r(mismatched)),

so a row's chosen answer is computed once. All rows of a job have equally many mismatched answers.
So the mean over a step's rows is the mean over its comparisons + weight * the mean over its
mismatched pairs. That mean is taken as without mismatched pairs: over the rows of a batch, over the
batches of a step and over ranks. Where batches are full, it is the same on one rank and on several,
whatever the batch size and accumulation. In an incomplete last step, each batch counts alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.nn.functional import logsigmoid

from almost_kedro.errors import UserError
from almost_kedro.training.padding import pad_texts


def check_mismatched(rows: Sequence[Mapping[str, Any]]) -> None:
    """Raise UserError if a row has another number of mismatched answers than the first."""
    first, *others = rows
    expected = len(first.get("mismatched", []))
    for row in others:
        if (found := len(row.get("mismatched", []))) != expected:
            raise UserError(
                f"row {row['id']!r} has {found} mismatched answers, and row {first['id']!r} "
                f"{expected}; give all rows equally many, or each would count with another weight"
            )


class PairCollator:
    """Pads token ids on the right: all chosen texts, all rejected ones, then the mismatched ones.

    Of n rows with k mismatched texts each, `input_ids` is (2n + nk, length), as TRL's own has it
    without the last part.
    """

    def __init__(self, pad: int):
        """Remember the padding token."""
        self.pad = pad

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        """Collate; `mismatched_weight`, (n,), is there only with mismatched texts."""
        texts = [example["chosen_ids"] for example in examples]
        texts += [example["rejected_ids"] for example in examples]
        others = [ids for example in examples for ids in example["mismatched_ids"]]
        batch = pad_texts([*texts, *others], self.pad)
        if others:
            batch["mismatched_weight"] = torch.tensor(
                [example["mismatched_weight"] for example in examples]
            )
        return batch


class MismatchedLoss:
    """Adds the loss of mismatched pairs to that of TRL's RewardTrainer; a mix-in for it."""

    accelerator: Any
    _metrics: dict[str, dict[str, list[float]]]

    def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Compute the loss of a batch of rows; without mismatched texts it is TRL's."""
        weights = inputs.pop("mismatched_weight", None)
        if weights is None:
            return super().compute_loss(model, inputs, *args, **kwargs)  # type: ignore[misc]
        n = len(weights)
        rewards = torch.empty(0)

        def read(**batch: Any) -> Any:
            """Compute all texts at once, and hand TRL those that it knows of."""
            nonlocal rewards
            outputs = model(**batch)
            rewards = outputs.logits.squeeze(-1)  # (2n + nk,)
            outputs.logits = outputs.logits[: 2 * n]
            return outputs

        loss = super().compute_loss(read, inputs, *args, **kwargs)  # type: ignore[misc]
        margins = rewards[:n, None] - rewards[2 * n :].view(n, -1)  # (n, k)
        right = self.accelerator.gather_for_metrics((margins > 0).float().mean())
        self._metrics["train"]["mismatched_accuracy"].append(right.mean().item())
        return loss + compute_mismatched_loss(margins, weights)


def compute_mismatched_loss(margins: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Return the mean over rows of weight * mean of -log sigmoid(margin).

    `margins` are the chosen answers' rewards - those of mismatched ones, (rows, mismatched);
    `weights` are (rows,).
    """
    return (weights * -logsigmoid(margins).mean(dim=1)).mean()
