"""Training with bfloat16 copies: gradients stay those of float32, and reach float32 weights."""

from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from training_jobs import Run, make_rows, train
from transformers import Gemma2Config, LlamaConfig, LlamaForCausalLM

from almost_kedro.training.precision import SHORT, choose_attention, use_bfloat16_copies
from almost_kedro.training_options import LaunchOptions


def make_job(
    dtype: str = "bfloat16",
    config: str = "cpu",
    checkpointing: bool = False,
    base: Path | None = None,
) -> Any:
    """What is looked at of a job."""
    return SimpleNamespace(
        base=SimpleNamespace(folder=base, trust_remote_code=False),
        launch=SimpleNamespace(dtype=dtype, config=config),
        options=SimpleNamespace(gradient_checkpointing=checkpointing),
    )


def make_model(tied: bool = True) -> Any:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=97,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        tie_word_embeddings=tied,
    )
    return LlamaForCausalLM(config)


def compute_gradients(model: Any) -> torch.Tensor:
    """All gradients in one row; each must be of its weight's type."""
    ids = torch.randint(5, 97, (4, 24), generator=torch.Generator().manual_seed(0))
    model(input_ids=ids, labels=ids).loss.backward()
    assert {weight.grad.dtype for weight in model.parameters()} == {torch.float32}
    return torch.cat([weight.grad.flatten() for weight in model.parameters()])


@pytest.mark.parametrize("tied", [True, False])
def test_gradients_are_those_of_float32_but_for_rounding(tied: bool) -> None:
    plain, copied = make_model(tied), make_model(tied)
    use_bfloat16_copies(copied, make_job())
    exact, rounded = compute_gradients(plain), compute_gradients(copied)
    assert not torch.equal(exact, rounded)
    assert float((exact - rounded).norm() / exact.norm()) < 0.02
    assert {weight.dtype for weight in copied.parameters()} == {torch.float32}


def test_hidden_states_are_bfloat16_only_where_gradients_are_wanted() -> None:
    model = make_model()
    use_bfloat16_copies(model, make_job())
    ids = torch.tensor([[5, 6, 7]])
    assert model(input_ids=ids).logits.dtype == torch.bfloat16
    with torch.no_grad():
        assert model(input_ids=ids).logits.dtype == torch.float32


@pytest.mark.parametrize(
    "job",
    [make_job("float32"), make_job(config="fsdp"), make_job(checkpointing=True)],
    ids=["float32", "sharded", "checkpointed activations"],
)
def test_who_computes_without_copies(job: Any) -> None:
    model = make_model()
    before = deepcopy(vars(model)).keys()
    use_bfloat16_copies(model, job)
    assert vars(model).keys() == before


def test_attention_is_plain_for_short_sequences_on_cpus_and_where_scores_are_capped(
    tmp_path: Path,
) -> None:
    eager = {"attn_implementation": "eager"}
    LlamaConfig().save_pretrained(tmp_path / "llama")
    Gemma2Config().save_pretrained(tmp_path / "gemma")
    llama, gemma = tmp_path / "llama", tmp_path / "gemma"
    assert choose_attention(make_job(base=llama), [3, SHORT]) == eager
    assert choose_attention(make_job(base=llama), [3, SHORT + 1]) == {}
    assert choose_attention(make_job(base=llama)) == {}
    assert choose_attention(make_job(base=llama, config="fsdp"), [3]) == {}
    assert choose_attention(make_job(base=gemma, config="fsdp"), [SHORT + 1]) == eager


@pytest.mark.parametrize(("program", "ranks"), [("reward", 2), ("sft", 1)])
def test_programs_train_as_in_float32(program: str, ranks: int, tiny: Path, tmp_path: Path) -> None:
    runs: dict[str, Run] = {}
    for dtype in ("float32", "bfloat16"):
        launch = LaunchOptions(processes=ranks, dtype=dtype)
        rows = make_rows(32, seed=0)
        runs[dtype] = train(
            program, tmp_path / dtype, tiny, rows, ranks=ranks, changes={"launch": launch}
        )
    exact, rounded = runs["float32"], runs["bfloat16"]
    assert rounded.metrics["bfloat16"]
    assert rounded.losses != exact.losses
    assert rounded.losses == pytest.approx(exact.losses, abs=0.05)
    assert rounded.losses[-1] < 0.8 * rounded.losses[0]
    assert {tensor.dtype for tensor in rounded.load().values()} == {torch.float32}
