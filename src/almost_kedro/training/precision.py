"""The numbers that training computes with and saves; on CPUs, attention by plain products."""

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

from almost_kedro.generation.embedded import choose_dtype
from almost_kedro.generation.reading import caps_scores
from almost_kedro.training.devices import training_device
from almost_kedro.training.job import TrainingJob

# Up to this length, attention by matrix products is faster on CPUs than torch's fused kernel,
# whose way back is slow, and its probabilities are small beside a layer's other numbers.
SHORT = 256


def choose_attention(job: TrainingJob, lengths: Sequence[int] = ()) -> dict[str, str]:
    """Return the argument that loads a model with the attention that suits a job.

    Args:
        job: The job.
        lengths: Tokens of all sequences, where they are short enough to choose by.
    """
    base = job.base
    config = AutoConfig.from_pretrained(base.folder, trust_remote_code=base.trust_remote_code)
    capped = caps_scores(config.get_text_config())
    short = job.launch.config == "cpu" and lengths and max(lengths) <= SHORT
    return {"attn_implementation": "eager"} if capped or short else {}


def use_bfloat16_copies(model: PreTrainedModel, job: TrainingJob) -> None:
    """Let a float32 model train with bfloat16 copies of its weights, where bfloat16 is computed.

    Autocast alone keeps what layers add up and normalise in float32 and casts it for each product;
    with copies all of that is bfloat16, as under FSDP2's mixed precision. Weights, gradients and
    the optimiser stay float32. Sharded models are left alone, as FSDP2 does the same; so are those
    with checkpointed activations, which are computed again when the copies are gone, and calls
    without gradient, such as each of the many that write a text.
    """
    wanted = choose_dtype(job.launch.dtype, training_device(job)) == torch.bfloat16
    if job.launch.config != "cpu" or job.options.gradient_checkpointing or not wanted:
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
    """A model's forward as it was before it was replaced.

    Through the model itself, other weights would go by what accelerate wraps around its forward,
    twice: its one autocast context would not be left again.
    """

    def __init__(self, model: PreTrainedModel):
        """Remember the forward of now."""
        super().__init__()
        self.model, self.call = model, model.forward

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call it, with the weights that are in place."""
        return self.call(*args, **kwargs)


def reward_in_float32(model: PreTrainedModel) -> None:
    """Let a reward model multiply its last state with its head in float32.

    bfloat16 has one number in 256 parts of a reward, and margins are differences of rewards.

    Args:
        model: Its head, `score`, is bias-free (rule 20).
    """
    head = model.score

    def forward(states: torch.Tensor) -> torch.Tensor:
        with torch.autocast(states.device.type, enabled=False):
            return nn.functional.linear(states.float(), head.weight.float())

    head.forward = forward


@contextmanager
def as_computed(model: nn.Module, bfloat16: bool) -> Iterator[None]:
    """Let a model have the weights that were computed with, to be saved; then its own again.

    bfloat16 does not tell small changes of a weight from none. No loss has seen them, but in
    float32 they would act together (`benchmarks/number_formats.py --unrounded`).

    Args:
        model: The model, or this rank's shards of it.
        bfloat16: Whether that was computed with; otherwise nothing changes.
    """
    weights = list(model.parameters()) if bfloat16 else []
    own = [weight.detach().clone() for weight in weights]
    with torch.no_grad():
        for weight in weights:
            weight.copy_(weight.to(torch.bfloat16))
        try:
            yield
        finally:
            for weight, before in zip(weights, own, strict=True):
                weight.copy_(before)
