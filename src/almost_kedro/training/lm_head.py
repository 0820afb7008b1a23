"""Log-probabilities on CPUs: of the labelled positions alone, from ordinary logits.

TRL never holds the logits of a whole batch. On GPUs that saves memory at little cost. On CPUs it
takes a large part of SFT's time: TRL also projects prompts and padding, projects everything twice,
and multiplies in float32 in the backward pass.
"""

from __future__ import annotations

from functools import wraps
from inspect import signature
from types import MethodType
from typing import Any

import torch
from transformers import PreTrainedModel
from trl.trainer.utils import FusedCausalLMOutput

IGNORED = -100
# Positions whose probabilities are in memory at once, for the entropy.
ROWS = 64


def use_plain_head(
    model: PreTrainedModel, temperature: float = 1.0, mean_logits: bool = False
) -> None:
    """Let `model(..., labels=labels, fused_lm_head=True)` go through ordinary logits on CPUs.

    Call it after TRL's trainer has given the model its fused head. The result is the same except
    for rounding. TRL's head stays in use on other devices, for a mixture of experts, and without
    labels. `temperature` divides the logits; it is TRL's own value. With `mean_logits`, the output
    has the mean of each position's logits, too, which DPO reports.
    """
    fused = model.forward
    crops = "logits_to_keep" in signature(type(model).forward).parameters

    # `generate` reads the names of the parameters.
    @wraps(type(model).forward)
    def forward(
        self: PreTrainedModel,
        *args: Any,
        fused_lm_head: bool = False,
        labels: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        on_cpu = labels is not None and labels.device.type == "cpu"
        others = kwargs.get("output_router_logits") or "shift_labels" in kwargs
        if not (fused_lm_head and on_cpu) or others:
            return fused(*args, fused_lm_head=fused_lm_head, labels=labels, **kwargs)
        assert labels is not None
        kwargs.pop("num_items_in_batch", None)
        kwargs["use_cache"] = False
        # The logits at a position are about the token after it.
        mask = labels[:, 1:] != IGNORED
        columns = mask.any(dim=0).nonzero()
        first = int(columns[0]) if len(columns) else 0
        width = labels.size(1) - first
        if crops:
            kwargs["logits_to_keep"] = width
        logits = fused(*args, **kwargs).logits[:, -width:-1]
        picked = logits[mask[:, first:]]
        found = [*score_labels(picked, labels[:, 1:][mask], temperature)]
        if mean_logits:
            found.append(picked.detach().float().mean(dim=-1) / temperature)
        log_probs, entropy, is_top1, *means = (
            each.new_zeros(mask.shape).masked_scatter(mask, each) for each in found
        )
        return FusedCausalLMOutput(
            log_probs=log_probs,
            entropy=entropy,
            is_top1=is_top1,
            label_mask=mask,
            mean_logits=means[0] if means else None,
        )

    model.forward = MethodType(forward, model)


def score_labels(
    logits: torch.Tensor, labels: torch.Tensor, temperature: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return log-probabilities of labels, entropies in nats, and whether labels are most likely.

    `logits` are (positions, vocabulary), all others (positions,). Entropies carry no gradient.
    """
    log_all = torch.log_softmax(logits.float() / temperature, dim=-1)
    log_probs = log_all.gather(-1, labels[:, None]).squeeze(-1)
    with torch.no_grad():
        parts = torch.split(log_all, ROWS)
        entropy = -torch.cat([(part.exp() * part).sum(dim=-1) for part in parts])
        is_top1 = log_all.argmax(dim=-1) == labels
    return log_probs, entropy, is_top1
