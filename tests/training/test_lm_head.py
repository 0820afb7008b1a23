"""Log-probabilities from ordinary logits are those of TRL's fused head."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    GraniteConfig,
    GraniteForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
)
from trl.trainer.utils import FusedCausalLMOutput, add_fused_lm_head

from almost_kedro.training.lm_head import IGNORED, score_labels, use_plain_head

SIZES: dict[str, Any] = {
    "vocab_size": 97,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
OUTPUTS = ("log_probs", "entropy", "is_top1", "mean_logits")
FIELDS = (*OUTPUTS, "label_mask")
MODELS: dict[str, Callable[[], Any]] = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SIZES)),
    "gpt_neox": lambda: GPTNeoXForCausalLM(GPTNeoXConfig(**SIZES)),
    "gemma2, which caps logits": lambda: Gemma2ForCausalLM(
        Gemma2Config(**SIZES, num_key_value_heads=1, head_dim=8)
    ),
    "granite, which scales them": lambda: GraniteForCausalLM(
        GraniteConfig(**SIZES, logits_scaling=4.0)
    ),
}


def make_batch(first: int) -> dict[str, torch.Tensor]:
    """Two sequences, the second one shorter; labels begin at `first`."""
    ids = torch.randint(5, 97, (2, 12), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    mask[1, 9:] = 0
    labels = ids.masked_fill(mask == 0, IGNORED)
    labels[:, :first] = IGNORED
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def run_model(model: Any, batch: dict[str, torch.Tensor]) -> tuple[FusedCausalLMOutput, Any]:
    """One pass and the gradients of the summed log-probabilities and more."""
    model.zero_grad()
    output = model(**batch, fused_lm_head=True)
    (
        output.log_probs * torch.linspace(0.5, 2, output.log_probs.numel()).view(2, -1)
    ).sum().backward()
    return output, {
        name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None
    }


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("first", [0, 5, 11])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_outputs_and_gradients_are_those_of_trl(name: str, first: int, temperature: float) -> None:
    torch.manual_seed(0)
    model = MODELS[name]()
    add_fused_lm_head(model, temperature=temperature, outputs=OUTPUTS)
    expected, expected_gradients = run_model(model, make_batch(first))
    use_plain_head(model, temperature, mean_logits=True)
    found, gradients = run_model(model, make_batch(first))
    for field in FIELDS:
        torch.testing.assert_close(found[field], expected[field], atol=1e-5, rtol=1e-5)
    assert gradients.keys() == expected_gradients.keys()
    for parameter, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected_gradients[parameter], atol=1e-5, rtol=1e-4)


def test_without_labels_the_loss_is_a_differentiable_zero() -> None:
    model = MODELS["llama"]()
    add_fused_lm_head(model)
    use_plain_head(model)
    batch = make_batch(12)
    output = model(**batch, fused_lm_head=True)
    assert not output.label_mask.any()
    output.log_probs.sum().backward()
    assert float(output.log_probs.sum()) == 0


def test_other_calls_are_the_models_own() -> None:
    model = MODELS["llama"]().eval()
    batch = make_batch(5)
    expected = model(**batch)
    add_fused_lm_head(model)
    use_plain_head(model)
    found = model(**batch)
    assert torch.equal(found.logits, expected.logits)
    assert torch.equal(found.loss, expected.loss)
    generated = model.generate(batch["input_ids"], max_new_tokens=2, do_sample=False)
    assert generated.shape == (2, 14)


def test_log_probability_entropy_and_rank_by_hand() -> None:
    logits = torch.log(torch.tensor([[1.0, 3.0], [1.0, 1.0]]))
    log_probs, entropy, is_top1 = score_labels(logits, torch.tensor([1, 1]), 1.0)
    assert log_probs.tolist() == pytest.approx([math.log(3 / 4), math.log(1 / 2)])
    by_hand = [-(0.25 * math.log(0.25) + 0.75 * math.log(0.75)), math.log(2)]
    assert entropy.tolist() == pytest.approx(by_hand)
    assert is_top1.tolist() == [True, False]  # of two alike, the first counts
    halved, _, _ = score_labels(logits[:1], torch.tensor([1]), 0.5)  # odds of 9
    assert halved.tolist() == pytest.approx([math.log(0.9)])
