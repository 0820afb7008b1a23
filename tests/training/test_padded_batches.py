"""Padded batches are trained on by numbers alone; see `poisoned_memory`."""

import pytest
import torch
from families import VOCABULARY, make_tiny
from poisoned_memory import Poison


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("family", ["llama", "gpt_neox", "gemma2"])
def test_padding_on_either_side_gives_no_number_that_is_none(
    family: str, dtype: torch.dtype, attention: str
) -> None:
    """Answers are padded on the right; prompts of rollouts on the left, with nothing to see."""
    for left in (False, True):
        model = make_tiny(family, 1).to(dtype)
        model.set_attn_implementation(attention)
        ids = torch.randint(3, VOCABULARY, (3, 17), generator=torch.Generator().manual_seed(0))
        lengths = torch.tensor([[17], [12], [5]])
        mask = (torch.arange(17) < lengths).long()
        mask = mask.flip(1) if left else mask
        with Poison() as poison:
            labels = ids.masked_fill(mask == 0, -100)
            model(ids, attention_mask=mask, labels=labels).loss.backward()
        assert poison.computed > 100
        assert all(each.grad.isfinite().all() for each in model.parameters())
