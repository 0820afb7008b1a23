"""What lies on a rank of a sharded model, part by part, counted in the ranks while they train."""

from collections.abc import Iterable
from contextlib import contextmanager
from typing import Any

import torch
from accelerate.utils import gather_object
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor
from transformers import TrainerCallback

from almost_kedro.rows.json_lines import write_json


def count(tensors: Iterable[Any]) -> int:
    """Bytes of tensors on this rank; of those that are spread, its own part."""
    own = (each.to_local() if isinstance(each, DTensor) else each for each in tensors)
    # By address: the same tensor may be met twice, and several may be parts of one buffer.
    return sum({each.data_ptr(): each.nbytes for each in own if each is not None}.values())


def list_params(model: Any) -> list[Any]:
    units = [each for each in model.modules() if isinstance(each, FSDPModule)]
    groups = {id(g): g for u in units for g in u._get_fsdp_state()._fsdp_param_groups}
    return [param for group in groups.values() for param in group.fsdp_params]


class Bytes(TrainerCallback):
    """Writes `bytes.json` into the work folder; nothing that training computes changes."""

    def __init__(self, trainer: Any, job: Any):
        self.trainer, self.job = trainer, job
        self.found: dict[str, Any] = {}
        self.saved: dict[int, int] | None = None
        if not hasattr(trainer, "compute_loss"):
            return
        compute = trainer.compute_loss

        def listen(model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            with self.count_saved(model):
                loss = compute(model, inputs, *args, **kwargs)
            self.keep("activations", sum((self.saved or {}).values()))
            return loss

        trainer.compute_loss = listen

    def keep(self, part: str, n_bytes: int) -> None:
        self.found[part] = max(n_bytes, self.found.get(part, 0))

    @contextmanager
    def count_saved(self, model: Any) -> Any:
        """Count what the way back needs, but for the weights."""
        params = list_params(model)
        saved: dict[int, int] = {}

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            storage = tensor.untyped_storage()
            # A block's weights lie elsewhere each time that they are gathered.
            wholes = filter(
                None.__ne__, (getattr(each, "_unsharded_param", None) for each in params)
            )
            if storage.data_ptr() not in {each.untyped_storage().data_ptr() for each in wholes}:
                saved[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            yield
        self.saved = saved

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        trainer = self.trainer
        self.keep("weights", count(trainer.model.parameters()))
        if reference := getattr(trainer, "ref_model", None):
            self.keep("reference", count(reference.parameters()))
        if self.job.program != "rl":
            return
        scorer = trainer.rewarder.scorer.model
        self.keep("reward model", count(scorer.parameters()))
        self.model = trainer.accelerator.unwrap_model(trainer.model)
        self.model.lm_head.register_forward_pre_hook(self.see_writing)
        self.model.register_forward_hook(self.see_call, with_kwargs=True)

    def see_writing(self, *args: Any) -> None:
        if not torch.is_grad_enabled():
            wholes = [getattr(param, "_unsharded_param", None) for param in list_params(self.model)]
            self.keep("written with", count(wholes))

    def see_call(self, model: Any, args: Any, kwargs: Any, output: Any) -> None:
        cache = getattr(output, "past_key_values", None)
        if torch.is_grad_enabled():
            self.keep("tokens", kwargs["input_ids"].numel())
        elif cache is not None:
            tensors = [each for layer in cache.layers for each in (layer.keys, layer.values)]
            if count(tensors) > self.found.get("cache", 0):
                rows, _, columns, _ = tensors[0].shape
                self.found |= {"cache": count(tensors), "cache tokens": rows * columns}

    def on_substep_end(self, *args: Any, **kwargs: Any) -> None:
        params = list_params(self.trainer.model)
        sums = [param.unsharded_accumulated_grad for param in params]
        whole = [getattr(param, "_unsharded_param", None) for param in params]
        grads = [each.grad for each in whole if each is not None]
        self.keep("whole gradients", count(sums) + count(grads))

    def on_pre_optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        self.keep("gradients", count(each.grad for each in self.trainer.model.parameters()))

    def on_optimizer_step(self, *args: Any, optimizer: Any, **kwargs: Any) -> None:
        states = [value for state in optimizer.state.values() for value in state.values()]
        self.keep("moments", count(each for each in states if torch.is_tensor(each) and each.dim()))

    def on_train_end(self, *args: Any, **kwargs: Any) -> None:
        ranks = gather_object([self.found])
        if self.trainer.accelerator.is_main_process:
            write_json(self.job.out / "bytes.json", ranks)
