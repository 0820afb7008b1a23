"""Reads texts with a decoder model; what texts have in common is read once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedConfig, PreTrainedModel

from almost_kedro.generation.shared_prefix import ATTENTION
from almost_kedro.generation.slots import KeysAndValues, Slots
from almost_kedro.generation.steps import Step, round_up
from almost_kedro.generation.trees import Batch, Text, follow

logger = logging.getLogger(__name__)
# Tokens of the trial that tells whether an architecture shares exactly, and the largest accepted
# difference of its numbers, as a share of their spread (measured in bfloat16: 0.03).
TRIAL_TOKENS, TRIAL_PREFIX, TRIAL_BRANCH = 40, 24, 32
TRIAL_TOLERANCE = {torch.bfloat16: 0.1, torch.float32: 1e-3}
# Kinds of layers for which the attention here is exact.
KNOWN_LAYERS = {"full_attention", "sliding_attention"}
# Given positions and the model's arguments, returns the model's output there.
Output = Callable[..., torch.Tensor]
Texts = Sequence[Text] | Mapping[int, Text]
Counts = Sequence[int] | Mapping[int, int]


class Reader:
    """Reads batches of texts.

    A model that bypasses transformers' attention interface reads texts one by one: slower, but
    exact.
    """

    def __init__(self, model: PreTrainedModel, output: Output):
        """Find out whether the model shares exactly; the log says so if it does not.

        `model` is a decoder, on its device, in evaluation mode. `output(index, **inputs)` returns
        what it puts out at positions `index` of its inputs, `(rows, len(index), ...)`.
        """
        self.model, self.output, self.device = model, output, model.device
        self.slots = Slots([], 0, 0, 0)
        self.shared: tuple[int, ...] = ()
        self.shares = self._try_trees()

    @torch.inference_mode()
    def read(
        self, batch: Batch, texts: Texts, n_last: Counts
    ) -> Iterator[tuple[int, torch.Tensor]]:
        """Yield each text's number and the outputs at its last positions, `(n_last, ...)`.

        `texts` has token ids by number, at least for the batch's texts. `n_last` says by number how
        many last positions are asked about.
        """
        read = self._read_trees if self.shares else self._read_alone
        yield from read(batch, texts, n_last, self.output)

    def _read_trees(
        self, batch: Batch, texts: Texts, n_last: Counts, output: Output
    ) -> Iterator[tuple[int, torch.Tensor]]:
        trees = [[texts[number] for number in tree] for tree in batch.trees]
        ids, step, paths = plan_reading(trees, len(batch.shared), self.device)
        slots = self._share(batch.shared)
        asked = [path[-n_last[i] :] for i, path in zip(batch.numbers, paths, strict=True)]
        # "A" and "B" after one question are asked about at one position.
        index, where = np.unique(np.concatenate(asked), return_inverse=True)
        inputs = slots.begin(ids, step)
        found = output(torch.from_numpy(index).to(self.device), **inputs)[0]
        ends = np.cumsum([len(each) for each in asked])[:-1]
        for number, rows in zip(batch.numbers, np.split(where, ends), strict=True):
            yield number, found[torch.from_numpy(rows).to(self.device)]

    def _share(self, shared: tuple[int, ...]) -> Slots:
        """Return the keys and values that a batch shares."""
        if shared != self.shared:
            self.slots = Slots(prefill(self.model, shared), len(shared), 0, 0)
            self.shared = shared
        return self.slots

    def _read_alone(
        self, batch: Batch, texts: Texts, n_last: Counts, output: Output
    ) -> Iterator[tuple[int, torch.Tensor]]:
        for number in batch.numbers:
            ids = torch.tensor([texts[number]], device=self.device)
            index = torch.arange(ids.shape[1], device=self.device)[-n_last[number] :]
            yield number, output(index, input_ids=ids, use_cache=False)[0]

    @torch.inference_mode()
    def _try_trees(self) -> bool:
        ids = trial_ids(self.model)
        other = ids[:TRIAL_BRANCH] + ids[: TRIAL_TOKENS - TRIAL_BRANCH]
        batch = Batch([[0, 1]], tuple(ids[:TRIAL_PREFIX]))
        states = read_states(self.model)

        def read() -> tuple[torch.Tensor, bool]:
            found = self._read_trees(batch, [ids, other], [1, 1], states)
            return torch.cat([each for _, each in found]), self.slots.windowed

        index = torch.tensor([TRIAL_TOKENS - 1], device=self.device)
        whole = torch.tensor([ids, other], device=self.device)
        return try_sharing(
            self.model, lambda: states(index, input_ids=whole, use_cache=False)[:, 0], read
        )


def read_states(model: PreTrainedModel) -> Output:
    """Return an output function that gives the model's last states, before any head."""

    def output(index: torch.Tensor, **inputs: Any) -> torch.Tensor:
        states: torch.Tensor = model.base_model(**inputs).last_hidden_state
        return states[:, index]

    return output


def prefill(model: PreTrainedModel, ids: Sequence[int]) -> list[KeysAndValues]:
    """Compute a text's keys and values for each layer, each `(kv_heads, tokens, head_size)`."""
    if not ids:
        return []
    numbers = torch.arange(len(ids), device=model.device)
    step = Step(
        positions=numbers,
        lengths=numbers[:0],
        longest=round_up(len(ids)),
        tokens=numbers,
        slots=torch.zeros_like(numbers),
        places=numbers,
        fresh=numbers[None],
        sizes=[len(ids)],
    )
    slots = Slots([], 0, capacity=1, most=len(ids))
    model.base_model(**slots.begin(torch.tensor(ids, device=model.device), step))
    return [
        (layer.keys[0, :, : len(ids)], layer.values[0, :, : len(ids)])
        for _, layer in sorted(slots.layers.items())
    ]


def trial_ids(model: PreTrainedModel) -> list[int]:
    """Return a text for the trial of a model's attention."""
    ids = torch.arange(TRIAL_TOKENS) * 7919 % model.config.get_text_config().vocab_size
    return [int(each) for each in ids]


def try_sharing(
    model: PreTrainedModel,
    expect: Callable[[], torch.Tensor],
    find: Callable[[], tuple[torch.Tensor, bool]],
) -> bool:
    """Find out whether the shared prefix gives the architecture's own numbers.

    Some models bypass the attention interface. Some say by a mask alone what they see. Some read
    short texts otherwise beside long ones. Such a model shares nothing and gets transformers'
    attention: slower, but exact.

    Args:
        expect: Computes the model's own numbers.
        find: Computes them with a shared prefix, and says whether a layer asked for a sliding
            window.
    """
    config = model.config.get_text_config()
    try:
        refuse(model)
        # Other implementations don't cap scores.
        model.set_attn_implementation("eager")
        expected = expect()
        model.set_attn_implementation(ATTENTION)
        found, windowed = find()
        error = float((found - expected).float().std() / expected.float().std())
    except Exception as exc:
        reason = f"{type(exc).__name__}: {exc}"
    else:
        window = getattr(config, "sliding_window", None)
        if error < TRIAL_TOLERANCE[model.dtype] and not (window and not windowed):
            return True
        reason = f"numbers {error:.2g} of their spread apart, window {window}"
    logger.warning("what texts have in common is not shared with this model (%s)", reason)
    fused = model._supports_sdpa and not caps_scores(config)
    model.set_attn_implementation("sdpa" if fused else "eager")
    return False


def refuse(model: PreTrainedModel) -> None:
    """Refuse architectures that a short trial might wrongly find exact.

    Raises:
        NotImplementedError: If layers keep states besides keys and values (Falcon-H1, LFM2), see
            chunks of a long text by the mask alone (Llama 4), or rotate the positions of all texts
            of a pass otherwise if one of them is long (LongRoPE).
    """
    config = model.config.get_text_config()
    if model._is_stateful:
        raise NotImplementedError("states besides keys and values")
    if others := {*(getattr(config, "layer_types", None) or ())} - KNOWN_LAYERS:
        raise NotImplementedError(f"layers of {', '.join(sorted(others))}")
    if uses_longrope(config):
        raise NotImplementedError("LongRoPE")


def caps_scores(config: PreTrainedConfig) -> bool:
    """Tell whether a model caps its scores (Gemma 2), which in transformers only eager supports."""
    return bool(getattr(config, "attn_logit_softcapping", None))


def uses_longrope(config: PreTrainedConfig) -> bool:
    """Tell whether any layers of a model rotate positions by LongRoPE."""
    rope = getattr(config, "rope_parameters", None) or {}
    kinds = [rope, *(each for each in rope.values() if isinstance(each, dict))]
    return any(each.get("rope_type") == "longrope" for each in kinds)


def plan_reading(
    trees: Sequence[Sequence[Text]], start: int, device: torch.device
) -> tuple[torch.Tensor, Step, list[np.ndarray]]:
    """Plan the pass that reads trees one after another; in a tree, neighbours begin alike.

    All texts begin with `start` tokens that are not read. Return token ids `(tokens,)`, the step,
    and for each text the places of its own tokens in the pass.
    """
    ids: list[int] = []
    places: list[int] = []
    paths: list[np.ndarray] = []
    starts = [0]
    for tree in trees:
        path: np.ndarray = np.empty(0, dtype=int)
        for own, shared in follow(tree, start):
            new = np.arange(len(own) - shared) + len(ids)
            path = np.concatenate([path[:shared], new])
            paths.append(path)
            ids += own[shared:]
            places += range(shared, len(own))
        starts.append(len(ids))
    sizes = np.diff(starts)
    most = int(sizes.max())
    fresh = np.full((len(trees), most), -1)
    seen = [torch.zeros(int(size), int(size), dtype=torch.bool) for size in sizes]
    rest = iter(paths)
    for number, tree in enumerate(trees):
        fresh[number, : sizes[number]] = np.arange(starts[number], starts[number + 1])
        for _ in tree:
            path = next(rest) - starts[number]
            seen[number].numpy()[np.ix_(path, path)] |= np.tri(len(path), dtype=bool)

    def put(numbers: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(numbers).to(device)

    none = torch.empty(0, dtype=torch.long, device=device)
    step = Step(
        positions=put(np.array(places) + start),
        lengths=none,
        longest=round_up(most),
        tokens=none,
        slots=none,
        places=none,
        fresh=put(fresh),
        sizes=sizes.tolist(),
        seen=seen,
    )
    return torch.tensor(ids, device=device), step, paths
