"""Nothing on the way through a model is no number, whatever stood in memory, in any number format.

What computes it depends on the processor: `test_instruction_sets` makes it an older one.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from contract import REQUESTS, complete
from drawn_texts import draw_texts
from families import FAMILIES, GROUPED, SHARING, make_tiny, save
from hypothesis import given
from hypothesis import strategies as st
from poisoned_memory import Poison
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from almost_kedro.contract import Request, Sampling
from almost_kedro.generation import embedded
from almost_kedro.generation.embedded import EmbeddedEngine
from almost_kedro.generation.reading import Reader, plan_reading, read_states
from almost_kedro.generation.scheduling import Row, leave, plan_step
from almost_kedro.generation.slots import Slots
from almost_kedro.generation.steps import Step
from almost_kedro.generation.trees import make_batches
from almost_kedro.generation.unshared import pad

CPU = torch.device("cpu")
# How far states may be from float32's own, as a share of their spread.
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 0.1}
formats = pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
texts_of = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=12), min_size=1, max_size=9)


def check_reading(make: Callable[[], PreTrainedModel], dtype: torch.dtype) -> None:
    """Trees of unlike size, with and without a beginning of all, equal each text alone."""
    exact, model = make(), make().to(dtype)
    if model.config.model_type == "gemma2":
        # transformers' other ways to attend don't cap its scores.
        exact.set_attn_implementation("eager")
    own, states = read_states(exact), read_states(model)
    reader = Reader(model, states)
    for texts in (draw_texts(0), [text[::-1] for text in draw_texts(0)]):
        asked = [1] * len(texts)
        batches = make_batches(texts, asked, 32, 100, 50)
        with Poison() as poison:
            found = dict(pair for batch in batches for pair in reader.read(batch, texts, asked))
        assert poison.computed > 100
        for number, text in enumerate(texts):
            with torch.no_grad():
                alone = own(torch.tensor([-1]), input_ids=torch.tensor([text]), use_cache=False)[0]
            error = (found[number].float() - alone).std() / alone.std()
            assert error < TOLERANCE[dtype], number


@formats
# Of a Llama 4 for text, transformers calls the whole model its base: it has no states to be read.
@pytest.mark.parametrize("family", [family for family in FAMILIES if family != "llama4"])
def test_texts_are_read_by_numbers_alone(family: str, dtype: torch.dtype) -> None:
    check_reading(lambda: make_tiny(family, 1), dtype)


@formats
@pytest.mark.parametrize("size", [8, 16, 24, 64, 80, 128, 256])
def test_heads_of_any_size_are_read_by_numbers_alone(size: int, dtype: torch.dtype) -> None:
    def make() -> PreTrainedModel:
        torch.manual_seed(0)
        return LlamaForCausalLM(LlamaConfig(**GROUPED, head_dim=size)).eval()

    check_reading(make, dtype)


@formats
@pytest.mark.parametrize("family", [family for family in FAMILIES if family != "reward"])
def test_texts_are_written_by_numbers_alone(
    family: str,
    dtype: torch.dtype,
    tiny_models: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where rows have left, too: what they leave is poisoned here."""

    def leave_poison(rows: list[Row], done: list[int], slots: Slots) -> list[Row]:
        left = leave(rows, done, slots)
        for layer in slots.layers.values():
            layer.keys[len(left) :] = layer.values[len(left) :] = torch.nan
        return left

    monkeypatch.setattr(embedded, "leave", leave_poison)
    save(make_tiny(family, 1), tmp_path, tiny_models)
    name = str(dtype).removeprefix("torch.")
    engine = EmbeddedEngine(tmp_path, dtype=name, rows=3, device="cpu")
    requests = [*REQUESTS, Request("?"), Request(REQUESTS[0].text * 3)]
    sampling = Sampling(temperature=1.0, top_p=0.9, max_new_tokens=9, stop=("e", "T"))
    with Poison() as poison:
        complete(engine, requests, sampling)
    assert poison.computed > 100
    assert engine.shares_prefix == (family in SHARING)


def test_rows_are_padded_with_tokens_of_their_own() -> None:
    """Another token's embedding may be no number, and a mask does not take that out."""
    ids, mask = pad([[5, 6, 7], [8], [9, 5]], CPU)
    assert ids.tolist() == [[5, 6, 7], [8, 8, 8], [9, 9, 5]]
    assert mask.tolist() == [[1, 1, 1], [0, 0, 1], [0, 1, 1]]


def check_masks(step: Step, most: int, window: int | None, prefix: int) -> None:
    """Each line of each mask shows something."""
    _, own = step.masks(window, prefix, torch.float32)
    assert (own == 0).any(dim=-1).all()
    for rows, queries in step.fresh_parts(most, prefix):
        mask = step.mask_fresh(rows, queries, window, torch.float32)
        assert (mask == 0).any(dim=-1).all()


@given(texts_of, st.integers(0, 2), st.integers(1, 40), st.one_of(st.none(), st.integers(1, 6)))
def test_no_line_of_a_trees_mask_hides_everything(
    texts: list[list[int]], split: int, most: int, window: int | None
) -> None:
    trees = [tree for tree in (texts[:split], texts[split:]) if tree]
    _, step, _ = plan_reading([sorted(tree) for tree in trees], 0, CPU)
    check_masks(step, most, window, 0)


@given(
    st.lists(st.integers(1, 12), min_size=1, max_size=6),
    st.integers(0, 6),
    st.integers(1, 60),
    st.one_of(st.none(), st.integers(1, 6)),
)
def test_no_line_of_a_steps_mask_hides_everything(
    lengths: list[int], n_new: int, most: int, window: int | None
) -> None:
    rows = [Row(i, [3] * (4 + length), np.empty(0)) for i, length in enumerate(lengths)]
    new = [[row] for row in rows[len(rows) - min(n_new, len(rows)) :]]
    _, step = plan_step(rows, new, 4, CPU)
    check_masks(step, most, window, 4)
