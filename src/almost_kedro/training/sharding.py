"""Sharded training (FSDP version 2), where the libraries' own ways cost precision or memory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from accelerate.utils import fsdp2_prepare_model
from torch import nn
from torch.distributed.fsdp import FSDPModule, StateDictType
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from almost_kedro.training.job import TrainingJob

# By this, transformers and accelerate agree that one rank of a machine reads what is sharded.
READ_ONCE = "FSDP_CPU_RAM_EFFICIENT_LOADING"


class OwnOutputs:
    """Leaves what a sharded model puts out as the model computed it; a mix-in for trainers.

    accelerate's mixed precision rounds it to bfloat16. An answer's log-probability of -1,000 nats
    would be a multiple of 4, and its reward of 5 log-odds one of 1/32; both are float32 here, as
    they are without shards.
    """

    accelerator: Any

    def create_accelerator_and_postprocess(self) -> None:
        """Make the accelerator, which says how models are sharded."""
        super().create_accelerator_and_postprocess()  # type: ignore[misc]
        plugin = getattr(self.accelerator.state, "fsdp_plugin", None)
        if plugin and plugin.mixed_precision_policy:
            own = replace(plugin.mixed_precision_policy, output_dtype=None)
            plugin.mixed_precision_policy = own


class ReferenceInBlocks:
    """Shards RL's reference model as the policy is, block by block; a mix-in for TRL's trainers.

    TRL would shard it as one unit: for each log-probability a rank would gather the whole model,
    and hold it twice for a moment. TRL leaves alone what is sharded when it gets there.
    """

    accelerator: Any

    @property
    def ref_model(self) -> PreTrainedModel | None:
        """The reference; None without a KL penalty."""
        return self._reference

    @ref_model.setter
    def ref_model(self, model: PreTrainedModel | None) -> None:
        if model is not None and self.accelerator.is_fsdp2:
            model = fsdp2_prepare_model(self.accelerator, model)
        self._reference = model


@contextmanager
def keep_whole(model: nn.Module) -> Iterator[None]:
    """Have a sharded model keep what it gathers, and give it back at the end.

    Writing calls the model for every token, and each call would gather every block again. The
    weights that are kept are whole, in the computed number format. Without shards nothing changes.
    """
    shards = [each for each in model.modules() if isinstance(each, FSDPModule)]
    # The root keeps its own parameters by default, but settles that in its first call only.
    units = [each for each in shards if each is not model]
    former = [gives_back(unit) for unit in units]
    for unit in units:
        unit.set_reshard_after_forward(False, recurse=False)
    try:
        yield
    finally:
        # The root, too: what would lie there whole is neither rounded for saving nor saved.
        for each in shards:
            each.reshard()
        for unit, gave_back in zip(units, former, strict=True):
            unit.set_reshard_after_forward(gave_back, recurse=False)


@contextmanager
def whole_state(accelerator: Any) -> Iterator[None]:
    """Have Trainer save a sharded model as one file, which it leaves out beside sharded states."""
    plugin = getattr(accelerator.state, "fsdp_plugin", None)
    if plugin is None:
        yield
        return
    own, plugin.state_dict_type = plugin.state_dict_type, StateDictType.FULL_STATE_DICT
    try:
        yield
    finally:
        plugin.state_dict_type = own


def choose_reading(job: TrainingJob) -> None:
    """Have each rank read all weights of an architecture that accelerate can't hand out in shards.

    It takes all of a model's state for shards, which buffers are not (DeepSeek-V3 has such ones).
    """
    if job.launch.config != "fsdp":
        return
    trusted = {"trust_remote_code": job.base.trust_remote_code}
    config = AutoConfig.from_pretrained(job.base.folder, **trusted)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, **trusted)
    state = model.state_dict()
    if any(name in state for name, _ in model.named_buffers()):
        os.environ.pop(READ_ONCE, None)


@contextmanager
def read_by_each_rank() -> Iterator[None]:
    """Load models that are not sharded: on the ranks that read nothing, they would be zeros."""
    own = os.environ.pop(READ_ONCE, None)
    try:
        yield
    finally:
        if own is not None:
            os.environ[READ_ONCE] = own


def gives_back(unit: FSDPModule) -> bool:
    """Tell whether a unit shards its parameters again after each call; torch has no public word."""
    groups = unit._get_fsdp_state()._fsdp_param_groups
    return any(group.post_forward_mesh_info is not None for group in groups)
