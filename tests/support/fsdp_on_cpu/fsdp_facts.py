"""What a sharded model is like, found out in the ranks just before they train."""

import os
from dataclasses import replace
from typing import Any

import torch
from accelerate.utils import gather_object
from fsdp_bytes import Bytes
from torch.distributed.fsdp import FSDPModule
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import TrainerCallback

from almost_kedro.rows.json_lines import write_json
from almost_kedro.training import trainer as training

# A text of this many tokens has a log-probability of some -2,000 nats.
LONG = 400
ASKED = "\n\nHuman: Why?\n\nAssistant:"


class Facts(TrainerCallback):
    """Writes `facts.json` into the work folder; nothing that training computes changes."""

    def __init__(self, trainer: Any, job: Any):
        self.trainer, self.job = trainer, job
        self.asked: list[dict[str, Any]] = []
        self.read = [has_weights(trainer.model)]
        if hasattr(trainer, "rewarder"):
            self.read.append(has_weights(trainer.rewarder.scorer.model))
        if job.program == "rl":
            answer = trainer.answer

            def listen(dialogues: Any, seed: int, names: Any) -> Any:
                answers = answer(dialogues, seed, names)
                self.asked.append({"seed": seed, "names": names, "answers": answers})
                return answers

            trainer.answer = listen

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        trainer = self.trainer
        facts: dict[str, Any] = {"outputs": [], "sums": [], "groups": []}
        facts["tunables"] = os.environ.get("GLIBC_TUNABLES", "")
        facts["read"] = gather_object([self.read])
        for model in filter(None, (trainer.model, getattr(trainer, "ref_model", None))):
            found = compute_outputs(model, self.job.program)
            facts["outputs"].append(str(found.dtype))
            facts["sums"].append(float(found.sum()))
            facts["groups"].append(len(list_groups(model)))
        if self.job.program == "rl":
            facts["watched"] = gather_object([self.asked])
            before = [gives_back(group) for group in list_groups(trainer.model)]
            write(trainer, 1)  # what was gathered above is given back
            facts["writing"] = [write(trainer, n_tokens) for n_tokens in (2, 5)]
            facts["rollouts"] = [write_rollout(trainer, n_tokens) for n_tokens in (2, 5)]
            groups = list_groups(trainer.model)
            facts["unchanged"] = before == [gives_back(group) for group in groups]
            facts["still_whole"] = sum(group.is_unsharded for group in groups)
        if trainer.accelerator.is_main_process:
            write_json(self.job.out / "facts.json", facts)


def compute_outputs(model: Any, program: str) -> torch.Tensor:
    """What training reads of a model: rewards, or log-probabilities of a long text's tokens."""
    ids = torch.arange(3, 3 + LONG)[None] % 250 + 3
    with torch.no_grad():
        if program == "reward":
            return model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
        return model(input_ids=ids, labels=ids, fused_lm_head=True).log_probs


def has_weights(model: Any) -> bool:
    return any(bool(parameter.any()) for parameter in model.parameters())


def list_groups(model: Any) -> list[Any]:
    """The groups of parameters that are gathered together; several modules may share one."""
    units = [each for each in model.modules() if isinstance(each, FSDPModule)]
    found = [group for unit in units for group in unit._get_fsdp_state()._fsdp_param_groups]
    return list(dict.fromkeys(found))


def gives_back(group: Any) -> bool:
    return group.post_forward_mesh_info is not None


class Gathers(TorchDispatchMode):
    """Counts what ranks gather of each other while it is entered."""

    n = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.n += "allgather" in str(func)
        return func(*args, **(kwargs or {}))


def write(trainer: Any, n_tokens: int) -> dict[str, int]:
    """Let the policy answer, and count what the ranks gather for that."""
    reader = trainer.reader
    own, reader.sampling = reader.sampling, replace(reader.sampling, max_new_tokens=n_tokens)
    with Gathers() as gathers:
        [answer] = trainer.answer([ASKED], 0, ["a"])
    reader.sampling = own
    return {"tokens": len(answer), "gathers": gathers.n}


def write_rollout(trainer: Any, n_tokens: int) -> dict[str, int]:
    """The same for a rollout."""
    config = trainer.generation_config
    own, config.max_new_tokens = config.max_new_tokens, n_tokens
    with Gathers() as gathers, torch.random.fork_rng():
        torch.manual_seed(0)
        [answer] = trainer._generate_single_turn([trainer.encoder.encode_dialogue(ASKED)], None, {})
    config.max_new_tokens = own
    return {"tokens": len(answer), "gathers": gathers.n}


def tell_before_training() -> None:
    """Let every program of this process tell; called before it is imported."""
    train = training.train_model

    def tell_and_train(trainer: Any, job: Any, *args: Any) -> None:
        trainer.add_callback(Facts(trainer, job))
        trainer.add_callback(Bytes(trainer, job))
        train(trainer, job, *args)

    training.train_model = tell_and_train
