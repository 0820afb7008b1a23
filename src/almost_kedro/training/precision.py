"""Training on CPUs: bfloat16 copies of the weights, and attention by plain matrix products."""

from __future__ import annotations

from collections.abc import Sequence
from functools import wraps
from types import MethodType
from typing import Any

import torch
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
    plain = model.forward

    @wraps(plain)
    def forward(self: PreTrainedModel, *args: Any, **kwargs: Any) -> Any:
        weights = dict(self.named_parameters())
        copied = all(weight.dtype == torch.bfloat16 for weight in weights.values())
        if copied or not torch.is_grad_enabled():
            return plain(*args, **kwargs)
        copies = {name: weight.to(torch.bfloat16) for name, weight in weights.items()}
        # Comes back here, with the copies in place.
        return functional_call(self, copies, args, kwargs)

    model.forward = MethodType(forward, model)
