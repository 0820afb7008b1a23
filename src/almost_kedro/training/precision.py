"""The number formats of training and saved weights; on CPUs, attention by plain products."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from types import MethodType
from typing import Any

import torch
from torch import nn
from torch.func import functional_call
from transformers import AutoConfig, PreTrainedModel

from almost_kedro.generation.number_format import choose_dtype
from almost_kedro.generation.reading import caps_scores
from almost_kedro.training.devices import training_device
from almost_kedro.training.job import TrainingJob

# Up to this length, attention by matrix products is faster on CPUs than torch's fused kernel with
# its slow backward pass, and its probabilities are small beside a layer's other numbers.
SHORT = 256


def choose_attention(job: TrainingJob, lengths: Sequence[int] = ()) -> dict[str, str]:
    """Return the argument that loads a model with the attention that suits a job.

    `lengths` are the tokens of all sequences; without them, none counts as short.
    """
    base = job.base
    config = AutoConfig.from_pretrained(base.folder, trust_remote_code=base.trust_remote_code)
    capped = caps_scores(config.get_text_config())
    short = job.launch.config == "cpu" and lengths and max(lengths) <= SHORT
    return {"attn_implementation": "eager"} if capped or short else {}


def use_bfloat16_copies(model: PreTrainedModel, job: TrainingJob) -> None:
    """Let a float32 model train with bfloat16 copies of its weights, where bfloat16 is computed.

    Autocast alone keeps sums and norms of layers in float32 and casts them for each product. With
    copies all of that is bfloat16, as under FSDP2's mixed precision. Weights, gradients and the
    optimiser stay float32. Sharded models are left alone, as FSDP2 does the same. Models with
    checkpointed activations are left alone: those are computed again after the copies are gone. So
    are weights in 4 bits, and calls without gradient, of which writing a text needs many.
    """
    wanted = choose_dtype(job.launch.dtype, training_device(job)) == torch.bfloat16
    apart = job.options.gradient_checkpointing or job.options.in_4bit
    if job.launch.config == "fsdp" or apart or not wanted:
        return
    inner = Inner(model)

    @wraps(inner.call)
    def forward(self: PreTrainedModel, *args: Any, **kwargs: Any) -> Any:
        if not torch.is_grad_enabled():
            return inner.call(*args, **kwargs)
        weights = inner.named_parameters()
        copies = {name: weight.to(torch.bfloat16) for name, weight in weights}
        return functional_call(inner, copies, args, kwargs)

    model.forward = MethodType(forward, model)


class Inner(nn.Module):
    """A model's forward before it was replaced.

    A call through the model itself would pass accelerate's wrapper of forward twice. Its single
    autocast context would then stay open.
    """

    def __init__(self, model: PreTrainedModel):
        """Remember the current forward."""
        super().__init__()
        self.model, self.call = model, model.forward

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call it, with the weights that are in place."""
        return self.call(*args, **kwargs)


def reward_in_float32(head: nn.Module) -> None:
    """Let a reward model multiply its last state with its bias-free head (rule 20) in float32.

    bfloat16 has a resolution of one in 256, and margins are differences of rewards.
    """
    assert isinstance(head, nn.Linear)  # not the model, which has a forward, too

    def forward(states: torch.Tensor) -> torch.Tensor:
        with torch.autocast(states.device.type, enabled=False):
            return nn.functional.linear(states.float(), head.weight.float())

    head.forward = forward  # type: ignore[method-assign, assignment]


@contextmanager
def as_computed(model: nn.Module, bfloat16: bool) -> Iterator[None]:
    """Give a model the weights that were computed with, to be saved; then restore its own.

    bfloat16 loses small changes of a weight. No loss has seen them, but in float32 they would act
    together (`benchmarks/number_formats.py --unrounded`). Without `bfloat16` nothing changes.
    `model` may be this rank's shards.
    """
    weights = [weight for weight in model.parameters() if bfloat16 and weight.is_floating_point()]
    own = [weight.detach().clone() for weight in weights]
    with torch.no_grad():
        for weight in weights:
            weight.copy_(weight.to(torch.bfloat16))
        try:
            yield
        finally:
            for weight, before in zip(weights, own, strict=True):
                weight.copy_(before)
