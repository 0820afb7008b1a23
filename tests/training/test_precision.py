"""Training with bfloat16 copies: gradients stay those of float32, and reach float32 weights."""

from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from families import GROUPED, IDS, save, scale
from training_jobs import Run, as_folder, compute_margins, make_rows, train, write_job
from transformers import (
    AutoModelForSequenceClassification,
    Gemma2Config,
    LlamaConfig,
    LlamaForCausalLM,
)

from almost_kedro.models.texts import TextEncoder
from almost_kedro.options.launch import LaunchOptions
from almost_kedro.training import reward
from almost_kedro.training.precision import (
    SHORT,
    as_computed,
    choose_attention,
    use_bfloat16_copies,
)
from almost_kedro.training.score import RewardScorer


def make_job(
    dtype: str = "bfloat16",
    config: str = "cpu",
    checkpointing: bool = False,
    base: Path | None = None,
    in_4bit: bool = False,
) -> Any:
    """What is looked at of a job."""
    return SimpleNamespace(
        base=SimpleNamespace(folder=base, trust_remote_code=False),
        launch=SimpleNamespace(dtype=dtype, config=config),
        options=SimpleNamespace(gradient_checkpointing=checkpointing, in_4bit=in_4bit),
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
    [
        make_job("float32"),
        make_job(config="fsdp"),
        make_job(checkpointing=True),
        make_job(in_4bit=True),
    ],
    ids=["float32", "sharded", "checkpointed activations", "weights in 4 bits"],
)
def test_who_computes_without_copies(job: Any) -> None:
    model = make_model()
    before = deepcopy(vars(model)).keys()
    use_bfloat16_copies(model, job)
    assert vars(model).keys() == before


@pytest.mark.parametrize("config", ["cpu", "gpu"])
def test_whoever_has_a_whole_model_computes_with_copies(config: str) -> None:
    model = make_model()
    before = deepcopy(vars(model)).keys()
    use_bfloat16_copies(model, make_job(config=config))
    assert vars(model).keys() - before == {"forward"}


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


@pytest.mark.slow
@pytest.mark.parametrize(("program", "ranks"), [("reward", 2), ("sft", 1), ("dpo", 1)])
def test_programs_train_as_in_float32(
    program: str, ranks: int, tiny: Path, reward_model: Path, tmp_path: Path
) -> None:
    runs: dict[str, Run] = {}
    for dtype in ("float32", "bfloat16"):
        launch = LaunchOptions(processes=ranks, dtype=dtype)
        rows = make_rows(32, seed=0)
        runs[dtype] = train(
            program,
            tmp_path / dtype,
            tiny,
            rows,
            ranks=ranks,
            reward_model=reward_model,
            changes={"launch": launch},
        )
    exact, rounded = runs["float32"], runs["bfloat16"]
    assert rounded.metrics["bfloat16"]
    assert rounded.losses != exact.losses
    assert rounded.losses == pytest.approx(exact.losses, abs=0.05)
    assert rounded.losses[-1] < 0.8 * rounded.losses[0]
    assert {tensor.dtype for tensor in rounded.load().values()} == {torch.float32}


def test_weights_are_saved_as_computed_and_kept_as_they_are() -> None:
    model = make_model()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.rand_like(weight) * 1e-4)
    before = deepcopy(model.state_dict())
    with as_computed(model, bfloat16=True):
        assert all(torch.equal(w, before[n].bfloat16().float()) for n, w in named(model))
        assert any(not torch.equal(w, before[n]) for n, w in named(model))
    assert all(torch.equal(w, before[n]) for n, w in named(model))
    with as_computed(model, bfloat16=False):
        assert all(torch.equal(w, before[n]) for n, w in named(model))


def named(model: Any) -> list[tuple[str, torch.Tensor]]:
    return list(model.named_parameters())


def test_autocast_ends_with_the_call_it_was_for() -> None:
    """accelerate puts one autocast context around a model's forward."""
    model = make_model()
    use_bfloat16_copies(model, make_job())
    autocast = torch.autocast("cpu", torch.bfloat16)
    model.forward = autocast(model.forward)
    compute_gradients(model)
    assert not torch.is_autocast_enabled("cpu")


# Of the margins' standard deviation (root mean square): docs/training.md. Saved unrounded: 0.17.
SHARE = 0.1


@pytest.fixture(scope="module")
def steady(tiny_models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose weights are large beside a step's change: most of it is below a bfloat16."""
    torch.manual_seed(0)
    sizes = GROUPED | {"hidden_size": 128, "intermediate_size": 256}
    model = scale(LlamaForCausalLM(LlamaConfig(**sizes, **IDS)), 4)
    return save(model.bfloat16(), tmp_path_factory.mktemp("steady"), tiny_models)


@pytest.mark.slow
def test_a_reward_model_trained_in_bfloat16_is_one_in_every_number_format(
    steady: Path, tmp_path: Path
) -> None:
    run = write_job(
        "reward",
        tmp_path,
        steady,
        make_rows(48, seed=0),
        epochs=3,
        learning_rate=3e-5,
        changes={"launch": LaunchOptions(dtype="bfloat16")},
    )
    reward.run(run.job)
    assert run.losses[-1] < 0.8 * run.losses[0]
    rows, encoder = make_rows(24, seed=5), TextEncoder(as_folder(run.model), " ", 256)
    margins = {}
    for dtype in (torch.float32, torch.bfloat16):
        network = AutoModelForSequenceClassification.from_pretrained(run.model, dtype=dtype)
        margins["transformers", dtype] = compute_margins(network, encoder, rows).float()
        scorer = RewardScorer(as_folder(run.model), dtype, torch.device("cpu"))
        chosen, rejected = (
            torch.tensor(scorer.score([text.ids for text in encoder.encode_rows(rows, side)]))
            for side in ("chosen", "rejected")
        )
        margins["scorer", dtype] = chosen - rejected
    exact = margins["transformers", torch.float32]
    for other in margins.values():
        assert float((other - exact).pow(2).mean().sqrt()) < SHARE * float(exact.std())
