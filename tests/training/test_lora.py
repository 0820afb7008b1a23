"""Low-rank adapters really train tiny models, and what is saved is the merged model."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from training_jobs import Run, compute_margins, make_rows, score_in_a_fresh_process, train
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    BitsAndBytesConfig,
    GPT2Config,
    GPT2LMHeadModel,
    set_seed,
)

from almost_kedro.models.texts import TextEncoder
from almost_kedro.options.launch import LaunchOptions
from almost_kedro.training.lora import (
    count_trained,
    expand,
    is_in_4bit,
    merge_weights,
    round_by_chance,
    train_in_float32,
)

# float32: the merged matrix sums in another order than the two paths do.
TOLERANCE = 1e-5
LORA = {"rank": 4, "alpha": 8, "dropout": 0.0, "targets": "all-linear"}
# Nothing stops it, and the policy moves.
LONG = {"every": 3, "max_kl": 1e3, "max_length_ratio": 1e3}
OPTIONS: dict[str, dict[str, Any]] = {
    "reward": {"learning_rate": 3e-2},
    "sft": {"learning_rate": 3e-2, "epochs": 2},
    "dpo": {"learning_rate": 3e-2},
    "rl": {"learning_rate": 1e-2, "watch": LONG},
}
IDS = torch.arange(3, 90)[None]


@pytest.fixture(scope="module")
def runs(
    tiny: Path, sft_run: Run, reward_run: Run, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Run]:
    kept: dict[str, Run] = {}

    def get(name: str) -> Run:
        if name not in kept:
            program, _, bits = name.partition(" ")
            out = tmp_path_factory.mktemp(name.replace(" ", "-"))
            judge = {"reward_model": reward_run.model} if program in ("rl", "dpo") else {}
            base = sft_run.model if program == "rl" else tiny
            rows, options = make_rows(24, seed=0), OPTIONS[program]
            lora = LORA | ({"load_in_4bit": True} if bits else {})
            kept[name] = train(program, out, base, rows, lora=lora, **judge, **options)
        return kept[name]

    return get


@pytest.fixture(
    params=[
        "reward",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("sft", "dpo", "rl", "reward in 4 bits", "sft in 4 bits", "rl in 4 bits")
        ),
    ]
)
def run(request: pytest.FixtureRequest, runs: Callable[[str], Run]) -> Run:
    return runs(request.param)


def load_base(run: Run) -> Any:
    """A base as it was when its adapters began: also a reward model's random head."""
    folder = run.job.base.folder
    if run.job.program != "reward":
        return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    set_seed(run.job.seed)
    return AutoModelForSequenceClassification.from_pretrained(
        folder, num_labels=1, dtype=torch.float32
    )


def find_largest(difference: torch.Tensor) -> float:
    return float(difference.detach().abs().max())


def test_the_merged_model_is_the_base_with_its_adapter(run: Run) -> None:
    """As peft itself reads the adapter."""
    base = load_base(run)
    before = base(IDS).logits.detach()
    adapted = PeftModel.from_pretrained(base, run.model / "adapter").eval()(IDS).logits
    kind: Any = AutoModelForSequenceClassification
    kind = kind if run.job.program == "reward" else AutoModelForCausalLM
    merged = kind.from_pretrained(run.model).eval()
    assert merged.dtype == torch.float32
    assert find_largest(merged(IDS).logits - adapted) < TOLERANCE
    assert find_largest(adapted - before) > 100 * TOLERANCE


def test_only_linear_layers_of_the_blocks_and_the_head_have_changed(run: Run) -> None:
    before, after = load_file(run.job.base.folder / "model.safetensors"), run.load()
    head = {"score.weight"} if run.job.program == "reward" else set()
    assert after.keys() - before.keys() == head
    changed = {
        name for name in before.keys() & after if not torch.equal(before[name].float(), after[name])
    }
    linear = {name for name in before if name.endswith("_proj.weight")}
    assert changed == linear


def test_each_change_has_the_rank(run: Run) -> None:
    before, after = load_file(run.job.base.folder / "model.safetensors"), run.load()
    name = "model.layers.0.mlp.down_proj.weight"
    sizes = torch.linalg.svdvals(after[name] - before[name].float())
    assert sizes[LORA["rank"] - 1] > 1e-4 > 1e-5 > sizes[LORA["rank"]]


def test_the_adapter_names_its_base_and_no_place(run: Run) -> None:
    adapter = run.model / "adapter"
    assert sorted(path.name for path in adapter.iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    described = json.loads((adapter / "adapter_config.json").read_text())
    assert described["base_model_name_or_path"] == run.job.base.name
    assert str(run.job.base.folder.parent) not in json.dumps(described)  # type: ignore[union-attr]
    assert (run.job.out / "served/adapter/adapter_model.safetensors").samefile(
        adapter / "adapter_model.safetensors"
    )


def test_metrics_count_what_is_trained(run: Run) -> None:
    adapter = load_file(run.model / "adapter/adapter_model.safetensors")
    metrics = run.metrics
    assert metrics["trained_parameters"] == sum(each.numel() for each in adapter.values())
    assert metrics["trained_parameters"] < metrics["parameters"] / 2


@pytest.mark.slow
def test_training_teaches(runs: Callable[[str], Run]) -> None:
    for program in ("reward", "sft", "dpo"):
        losses = runs(program).losses
        assert losses[-1] < 0.8 * losses[0]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["rl", "rl in 4 bits"])
def test_rl_begins_at_its_reference_and_goes_on_from_there(
    name: str, runs: Callable[[str], Run]
) -> None:
    """The reference is the model without its adapter: no rank has a second copy."""
    kls = [
        [row["kl"] for row in runs(name).read("rollouts.jsonl") if row["step"] == step]
        for step in (1, 6)
    ]
    assert max(map(abs, kls[0])) < TOLERANCE
    assert max(map(abs, kls[1])) > 100 * TOLERANCE


@pytest.mark.slow
def test_weights_in_4_bits_teach_otherwise_and_leave_no_trace_in_the_checkpoint(
    runs: Callable[[str], Run],
) -> None:
    whole, in_4bit = runs("sft"), runs("sft in 4 bits")
    assert 0 < abs(in_4bit.losses[0] - whole.losses[0]) < 0.1
    for run in (in_4bit, runs("reward in 4 bits")):
        assert run.losses[-1] < 0.85 * run.losses[0]
    assert in_4bit.metrics["parameters"] == whole.metrics["parameters"]
    for run in (whole, in_4bit):
        config = json.loads((run.model / "config.json").read_text())
        assert config["dtype"] == "float32"
        assert "quantization_config" not in config
    assert in_4bit.load().keys() == whole.load().keys()


def test_gradients_of_layers_in_4_bits_are_right_after_a_call_without_gradient(
    tiny: Path,
) -> None:
    """bitsandbytes' own layout for CPUs has others; the plain layer has the same weights."""
    torch.manual_seed(0)
    settings = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16
    )
    network, plain = (
        AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.bfloat16, **more)
        for more in ({"quantization_config": settings}, {})
    )
    assert is_in_4bit(network)
    assert not is_in_4bit(plain)
    train_in_float32(network.requires_grad_(False))
    with torch.no_grad():
        network.eval()(IDS)
        for name, weight in network.named_parameters():
            if hasattr(weight, "quant_state"):
                plain.get_parameter(name).copy_(expand(weight))
    gradients = []
    for each in (network, plain):
        states = plain.get_input_embeddings()(IDS).detach().requires_grad_()
        each(inputs_embeds=states, labels=IDS).loss.backward()
        gradients.append(states.grad.float())
    assert gradients[0].norm() > 0
    assert (gradients[0] - gradients[1]).norm() < 0.02 * gradients[1].norm()


@pytest.mark.slow
def test_rollouts_are_written_by_the_model_with_its_adapter(runs: Callable[[str], Run]) -> None:
    """The watch draws alike each time, by the engine: other answers are another model's."""
    lengths = [score["length"] for score in runs("rl").read("watch.jsonl")]
    assert len(set(lengths)) > 1


def test_rewards_are_those_of_the_merged_model(runs: Callable[[str], Run], tmp_path: Path) -> None:
    run = runs("reward")
    rows = [
        {"id": row["id"], "dialogue": row["dialogue"], "answer": row["chosen"]}
        for row in make_rows(4, seed=9)
    ]
    model = AutoModelForSequenceClassification.from_pretrained(run.model).eval()
    encoder = TextEncoder(run.job.base, " ", 256)
    with torch.no_grad():
        by_hand = [
            float(model(torch.tensor([encoder.encode(r["dialogue"], r["answer"]).ids])).logits)
            for r in rows
        ]
    scored = score_in_a_fresh_process(tmp_path, run.model, rows)
    assert scored == pytest.approx(by_hand, abs=TOLERANCE)


def test_matrices_that_lie_the_other_way_are_merged_as_they_lie(tmp_path: Path) -> None:
    """GPT-2 keeps its weights as (in, out), and has embeddings for a head."""
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=259, n_embd=32, n_layer=2, n_head=4, n_positions=128)
    network = GPT2LMHeadModel(config).eval()
    network.save_pretrained(tmp_path)
    model = get_peft_model(network, LoraConfig(r=3, lora_alpha=6, target_modules="all-linear"))
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.1)
    merged = merge_weights(model, bfloat16=False)
    assert merged["lm_head.weight"] is merged["transformer.wte.weight"]
    save_file(
        {k: v.contiguous() for k, v in merged.items() if k != "lm_head.weight"},
        tmp_path / "model.safetensors",
        metadata={"format": "pt"},
    )
    again = GPT2LMHeadModel.from_pretrained(tmp_path).eval()
    assert find_largest(again(IDS).logits - model.eval()(IDS).logits) < TOLERANCE


def test_a_change_by_hand() -> None:
    """W = [[1, 2], [3, 4]], B A = [[2], [1]] [[1, -1]], alpha / rank = 3."""
    model = torch.nn.Sequential(torch.nn.Linear(2, 2, bias=False))
    adapted: Any = get_peft_model(model, LoraConfig(r=1, lora_alpha=3, target_modules=["0"]))
    layer = adapted.base_model.model[0]
    with torch.no_grad():
        layer.base_layer.weight.copy_(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
        layer.lora_A["default"].weight.copy_(torch.tensor([[1.0, -1.0]]))
        layer.lora_B["default"].weight.copy_(torch.tensor([[2.0], [1.0]]))
    assert merge_weights(adapted, bfloat16=False)["0.weight"].tolist() == [[7, -4], [6, 1]]
    assert count_trained(adapted) == {"trained_parameters": 4, "parameters": 8}
    assert count_trained(model) == {}


def test_a_change_below_the_step_of_bfloat16_is_kept_on_average() -> None:
    """Between 1 and 2, bfloat16 has steps of 1/128. An eighth of one goes up in an eighth."""
    weights = torch.full((200, 500), 1 + 1 / 128 / 8)
    rounded = round_by_chance(weights, "q_proj")
    assert set(rounded.unique().tolist()) == {1.0, 1 + 1 / 128}
    assert float((rounded > 1).float().mean()) == pytest.approx(1 / 8, abs=0.005)
    assert (weights.to(torch.bfloat16) == 1).all()  # the nearest value: all of it is lost
    below = round_by_chance(-weights, "q_proj")
    assert float(below.mean()) == pytest.approx(-float(weights.mean()), abs=5e-5)


def test_rounding_is_drawn_by_the_weights_name_and_leaves_values_of_bfloat16_alone() -> None:
    weights = torch.randn(64, 64, generator=torch.Generator().manual_seed(0))
    again, other = (round_by_chance(weights, name) for name in ("a", "b"))
    assert torch.equal(round_by_chance(weights, "a"), again)
    assert not torch.equal(again, other)
    exact = weights.to(torch.bfloat16).float()
    assert torch.equal(round_by_chance(exact, "a"), exact)


@pytest.mark.slow
def test_in_bfloat16_the_merged_model_still_says_what_was_trained(
    tiny: Path, tmp_path: Path
) -> None:
    """Every number format reads the same margins, which are those of the adapters."""
    launch = {"launch": LaunchOptions(dtype="bfloat16")}
    rows, options = make_rows(24, seed=0), {"learning_rate": 3e-3, "epochs": 2}
    run = train("reward", tmp_path / "out", tiny, rows, lora=LORA, changes=launch, **options)
    weights = run.load()
    assert all(torch.equal(each, each.to(torch.bfloat16).float()) for each in weights.values())
    encoder = TextEncoder(run.job.base, " ", 256)
    kind: Any = AutoModelForSequenceClassification
    adapted = PeftModel.from_pretrained(load_base(run), run.model / "adapter").eval()
    by_adapter, merged = (
        compute_margins(network, encoder, rows)
        for network in (adapted, kind.from_pretrained(run.model).eval())
    )
    assert float((by_adapter - merged).std()) < 0.1 * float(by_adapter.std())
