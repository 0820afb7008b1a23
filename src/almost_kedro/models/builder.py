"""Child program that makes model folders: dequantises a GGUF file, or draws a tiny random Llama.

It is a program of its own because it needs torch, which the Kedro process never imports.
Run by hand: `python -m almost_kedro.models.builder JOB.json`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from almost_kedro.processes.child import die_with_parent


def main(job_file: str) -> None:
    """Carry out a job file: `{"kind": "gguf" | "tiny", "out": folder, ...}`."""
    die_with_parent()
    job = json.loads(Path(job_file).read_text(encoding="utf-8"))
    match job["kind"]:
        case "gguf":
            dequantise(Path(job["gguf"]), Path(job["out"]), job["pad_token"])
        case "tiny":
            draw_tiny_llama(Path(job["out"]), job["layers"], job["hidden_size"], job["seed"])


def dequantise(gguf: Path, out: Path, pad_token: str | None) -> None:
    """Write a quantised GGUF model as bf16 safetensors with its tokenizer.

    `pad_token` is a token of the vocabulary and must differ from the eos token: otherwise what
    skips padding skips the eos, and a model never learns to stop.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    config: Any = GgufConfig(gguf_file=gguf.name, dequantize=True)
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    model = AutoModelForCausalLM.from_pretrained(
        gguf.parent, gguf_file=gguf.name, quantization_config=config, dtype=torch.bfloat16
    )
    if pad_token:
        tokenizer.pad_token = pad_token
    if tokenizer.pad_token_id == tokenizer.eos_token_id:
        raise SystemExit(f"pad token {tokenizer.pad_token!r} is the eos token: give another")
    _save(model, tokenizer, out)


def draw_tiny_llama(out: Path, layers: int, hidden_size: int, seed: int) -> None:
    """Write a random Llama of a few thousand parameters with a byte-level tokenizer."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    special = ["<pad>", "<bos>", "<eos>"]
    vocabulary = {token: i for i, token in enumerate([*special, *alphabet])}
    bpe = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>"
    )
    torch.manual_seed(seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(vocabulary),
            hidden_size=hidden_size,
            intermediate_size=2 * hidden_size,
            num_hidden_layers=layers,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=16384,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
        )
    )
    _save(model.to(torch.bfloat16), tokenizer, out)


def _save(model: Any, tokenizer: Any, out: Path) -> None:
    """Write model and tokenizer, with the tokenizer's special tokens in both."""
    for config in (model.config, model.generation_config):
        config.pad_token_id = tokenizer.pad_token_id
        config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)


if __name__ == "__main__":
    main(sys.argv[1])
