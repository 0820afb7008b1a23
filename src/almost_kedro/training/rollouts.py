"""A policy's answers in training, and their rewards."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from accelerate.utils import gather_object
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from transformers import GenerationConfig, PreTrainedModel
from trl.models.utils import unwrap_model_for_generation

from almost_kedro.contract import Sampling
from almost_kedro.errors import UserError
from almost_kedro.generation.embedded import EmbeddedEngine
from almost_kedro.generation.not_finite import describe
from almost_kedro.generation.sampling import DRAWS, LogitsError
from almost_kedro.models.texts import TextEncoder
from almost_kedro.training.answers import AnswerReader, list_stops
from almost_kedro.training.devices import is_sharded
from almost_kedro.training.guards import REMEDY, choose_number
from almost_kedro.training.job import TrainingJob
from almost_kedro.training.lora import find_network, is_off, merge_weights
from almost_kedro.training.rewarders import Rewarder, Rewarders
from almost_kedro.training.sharding import OwnOutputs, ReferenceInBlocks, keep_whole

# Answers to a watch's prompts that the embedded engine writes side by side: a token of each takes
# hardly longer than a token of one.
WATCHED_AT_ONCE = 64


@contextmanager
def own_sampling(model: PreTrainedModel) -> Iterator[None]:
    """Set a model's generation config aside, whose penalties `generate` would add to its options.

    Checkpoints are saved with it.
    """
    kept, model.generation_config = model.generation_config, GenerationConfig()
    try:
        yield
    finally:
        model.generation_config = kept


class AnswerMixin(OwnOutputs):
    """What we add to TRL's trainers of policies whose answers are watched.

    A trainer that doesn't generate itself has no other use of the attributes below.
    """

    encoder: TextEncoder
    reader: AnswerReader
    eos_token_ids: list[int]

    @contextmanager
    def name_prompts(self, ids: Sequence[str]) -> Iterator[None]:
        """Raise UserError with the prompts at which the policy's logits are not finite."""
        found = "the policy's logits are no finite numbers"
        try:
            yield
        except LogitsError as exc:
            raise UserError(f"prompt {ids[exc.row]}: {found}; {self.describe()}") from exc
        except RuntimeError as exc:
            # torch refuses to draw with this error, where the model writes and not our engine.
            if "probability tensor contains" not in str(exc):
                raise
            raise UserError(f"prompts {', '.join(ids)}: {found}; {self.describe()}") from exc

    def describe(self) -> str:
        """Describe the policy after a result that is not finite."""
        known = describe(self.model.named_parameters(), choose_number(self.args))  # type: ignore[attr-defined]
        return f"after step {self.state.global_step}, {known}; {REMEDY}"  # type: ignore[attr-defined]

    def _cast_once(self) -> Any:
        """Keep the weights in bfloat16 while tokens are written, to cast them only once.

        Shards are left alone: the copy would be whole. The engine has a copy of its own.
        """
        kind = self.accelerator.device.type
        model = self.model  # type: ignore[attr-defined]
        own = is_sharded(model) or has_engine(model)
        enabled = self.args.bf16 and not own  # type: ignore[attr-defined]
        return torch.autocast(kind, torch.bfloat16, enabled=enabled)

    def answer(self, dialogues: Sequence[str], seed: int, names: Sequence[str]) -> list[list[int]]:
        """Let the policy answer; training's own random stream stays where it was.

        `seed` is for this rank's draws; `names` are the dialogues' ids, for errors. Return token
        ids of the answers, up to and including the token that ended them.
        """
        rows = [self.encoder.encode_dialogue(dialogue) for dialogue in dialogues]
        width = max(map(len, rows))
        pad, ends = self.encoder.pad, self.eos_token_ids
        ids = torch.tensor([[pad] * (width - len(row)) + row for row in rows])
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
        device = self.accelerator.device
        sampling = {
            "max_new_tokens": self.reader.sampling.max_new_tokens,
            "do_sample": True,
            "temperature": self.reader.sampling.temperature,
            "top_p": self.reader.sampling.top_p,
            "top_k": 0,
            "pad_token_id": pad,
            "eos_token_id": ends,
        }
        with (
            torch.random.fork_rng(),
            torch.no_grad(),
            self._cast_once(),
            keep_whole(self.model),  # type: ignore[attr-defined]
            self.name_prompts(names),
            own_sampling(find_network(self.model)),  # type: ignore[attr-defined]
            unwrap_model_for_generation(
                self.model_wrapped,  # type: ignore[attr-defined]
                self.accelerator,
                generation_kwargs=sampling,
            ) as model,
        ):
            torch.manual_seed(seed)
            output = model.generate(
                input_ids=ids.to(device),
                attention_mask=mask.to(device),
                generation_config=GenerationConfig(**sampling, disable_compile=True),
            )
        return [self.reader.cut(answer) for answer in output[:, width:].tolist()]


class RolloutMixin(AnswerMixin, ReferenceInBlocks):
    """What we add to TRL's RLOO and GRPO trainers: our token ids, our rewards, and the rollouts.

    TRL itself would score completions without eos, and let them run on into another dialogue.
    """

    rewarder: Rewarder | Rewarders
    rollouts: list[dict[str, Any]]

    def _tokenize_prompts(self, prompts: list[str]) -> tuple[list[list[int]], None, dict[str, Any]]:
        return [self.encoder.encode_dialogue(prompt) for prompt in prompts], None, {}

    def reward(
        self,
        prompts: list[str],
        completion_ids: list[list[int]],
        prompt_id: list[str],
        **_: Any,
    ) -> list[float]:
        """Reward this rank's completions, and keep them as rollouts."""
        answers = [self.reader.read(ids) for ids in completion_ids]
        rewards = self.rewarder.reward(prompts, [text for text, _ in answers], prompt_id)
        self._new: list[dict[str, Any]] = [
            {
                "prompt_id": id_,
                "completion": text,
                "finish_reason": completion.finish_reason,
                "n_tokens": completion.n_tokens,
                "reward": reward,
            }
            for id_, (text, completion), reward in zip(prompt_id, answers, rewards, strict=True)
        ]
        return rewards

    def _get_per_token_logps_and_entropies(self, model: Any, *args: Any, **kwargs: Any) -> Any:
        result = super()._get_per_token_logps_and_entropies(model, *args, **kwargs)  # type: ignore[misc]
        if not torch.is_grad_enabled():
            # The reference is a model of its own, or the policy without its adapters.
            reference = model is self.ref_model or is_off(model)
            self._logps["reference" if reference else "policy"] = result[0]
            self._arguments = (args, kwargs)
        return result

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        self._logps: dict[str, torch.Tensor] = {}
        ids = [row["prompt_id"] for row in inputs]
        with self.name_prompts(ids):
            output: dict[str, Any] = super()._generate_and_score_completions(inputs)  # type: ignore[misc]
        kl = torch.zeros(len(inputs))
        if "reference" in self._logps:
            if "policy" not in self._logps:  # GRPO needs them later only
                with torch.no_grad():
                    args, kwargs = self._arguments
                    self._get_per_token_logps_and_entropies(self.model, *args, **kwargs)  # type: ignore[attr-defined]
            ratios = self._logps["policy"] - self._logps["reference"]  # (batch, length)
            kl = (ratios * output["completion_mask"]).sum(1)
        for id_, value in zip(ids, kl.tolist(), strict=True):
            if not math.isfinite(value):
                raise UserError(f"prompt {id_}: the answer's KL is {value}; {self.describe()}")
        new = [{**row, "kl": value} for row, value in zip(self._new, kl.tolist(), strict=True)]
        step = self.state.global_step + 1  # type: ignore[attr-defined]
        seen: dict[str, int] = {}
        for row in gather_object(new):
            sample = seen[row["prompt_id"]] = seen.get(row["prompt_id"], -1) + 1
            self.rollouts.append({"step": step, "sample": sample, **row})
        return output

    def _generate_single_turn(self, *args: Any, **kwargs: Any) -> Any:
        model = self.model  # type: ignore[attr-defined]
        with self._cast_once(), keep_whole(model), own_sampling(find_network(model)):
            found = super()._generate_single_turn(*args, **kwargs)  # type: ignore[misc]
        if not isinstance(found, tuple):
            return [self.reader.cut(ids) for ids in found]
        # GRPO's, with log-probabilities where vLLM wrote.
        written, logps = found
        ids = [self.reader.cut(each) for each in written]
        return ids, logps and [row[: len(own)] for row, own in zip(logps, ids, strict=True)]


def has_engine(model: nn.Module) -> bool:
    """Tell whether the embedded engine writes a policy's answers (see `use_engine`)."""
    return hasattr(find_network(model), "engine")


def use_engine(model: nn.Module, job: TrainingJob, end_ids: Collection[int]) -> None:
    """Let `model.generate` write with the embedded engine and the current weights, on a CPU.

    That takes half the time, but a second copy of the weights in the computed number format. With
    several ranks nothing changes, as each would have a copy. Rows draw with torch's own generator,
    which checkpoints keep. `model` began as the job's base; `end_ids` end an answer.
    """
    options, base = job.options, job.base
    if job.launch.config != "cpu" or job.ranks > 1:
        return
    assert base.folder
    engine = EmbeddedEngine(
        base.folder,
        dtype=job.launch.dtype,
        # Independent of free memory: a resumed run must write the same.
        rows=max(options.batch_size * options.accumulation, WATCHED_AT_ONCE),
        trust_remote_code=base.trust_remote_code,
        device="cpu",
    )
    engine.end_ids = set(end_ids)

    def generate(
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        generation_config: GenerationConfig,
    ) -> torch.Tensor:
        config = generation_config
        engine.take_weights(merge_weights(model, bfloat16=engine.model.dtype == torch.bfloat16))
        rows = zip(input_ids, attention_mask.bool(), strict=True)
        texts = [ids[mask].tolist() for ids, mask in rows]
        uniforms = torch.rand(len(texts), config.max_new_tokens, DRAWS, dtype=torch.float64)
        sampling = Sampling(
            config.temperature, config.top_p, config.max_new_tokens, list_stops(job)
        )
        answers = engine.continue_ids(texts, uniforms.numpy(), sampling)
        padded = pad_sequence(
            [torch.tensor(ids) for ids in answers],
            batch_first=True,
            padding_value=config.pad_token_id,
        )
        return torch.cat([input_ids, padded], dim=1)

    network = find_network(model)
    network.generate, network.engine = generate, engine
