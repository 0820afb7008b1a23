"""Adapters that can't be are refused without torch, in one line, before anything is generated."""

import sys
from pathlib import Path

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from almost_kedro.errors import UserError
from almost_kedro.models.adapters import check_adapters
from almost_kedro.options.training import LoraOptions


def check(folder: Path, targets: object = "all-linear") -> None:
    check_adapters(LoraOptions.model_validate({"targets": targets}), "sft.lora", "tiny", folder)


def test_what_a_model_has_is_taken(tiny_models: dict[str, Path]) -> None:
    folder = tiny_models["tiny-large"]
    check(folder)
    check(folder, ["q_proj", "v_proj"])
    check(folder, ["layers.0.mlp.down_proj"])


@pytest.mark.parametrize("target", ["query", "proj", "lm_head", "embed_tokens", "input_layernorm"])
def test_a_layer_that_is_not_there_is_refused(target: str, tiny_models: dict[str, Path]) -> None:
    """Nor embeddings and norms, which are no linear layers of a block."""
    with pytest.raises(UserError) as caught:
        check(tiny_models["tiny-large"], ["q_proj", target])
    assert str(caught.value) == (
        f"option sft.lora.targets: model 'tiny' has no linear layer {target!r} in its blocks; it "
        "has down_proj, gate_proj, up_proj, k_proj, o_proj, q_proj, v_proj"
    )


def test_gpt_2_has_linear_layers_too(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=259, n_embd=32, n_layer=1, n_head=4, n_positions=128)
    GPT2LMHeadModel(config).save_pretrained(tmp_path)
    check(tmp_path, ["c_attn"])
    with pytest.raises(UserError, match="no linear layer 'q_proj' in its blocks; it has c_"):
        check(tmp_path, ["q_proj"])


def test_without_peft_one_line_says_what_to_install(
    tiny_models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(UserError, match=r"^option sft.lora: peft is not installed here; run `pip"):
        check(tiny_models["tiny-large"])


def test_weights_in_4_bits_need_bitsandbytes_and_whole_models(
    tiny_models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, lora = tiny_models["tiny-large"], LoraOptions.model_validate({"load_in_4bit": True})
    check_adapters(lora, "sft.lora", "tiny", folder)
    with pytest.raises(UserError, match=r"^option sft.lora.load_in_4bit: launch.config is fsdp"):
        check_adapters(lora, "sft.lora", "tiny", folder, sharded=True)
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(
        UserError, match=r"bitsandbytes is not installed .*-e '.\[qlora\]'`, or set"
    ):
        check_adapters(lora, "sft.lora", "tiny", folder)
    check(folder)
