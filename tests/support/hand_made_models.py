"""Tiny model folders as users have them: byte-level tokenizers like GPT-2's, where "!" is id 0."""

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from almost_kedro.contract import ModelFolder

END = "<|endoftext|>"
# "!" is the first of the printable bytes.
BYTES = sorted(pre_tokenizers.ByteLevel.alphabet())
# The template of many instruct models, and its tokens.
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
MARKS = ("<|im_start|>", "<|im_end|>")


def make_tokenizer(
    extra: tuple[str, ...] = (END,), first: tuple[str, ...] = (), **named: Any
) -> PreTrainedTokenizerFast:
    """A token for each byte.

    Args:
        extra: Tokens after the bytes.
        first: Tokens before the bytes.
        named: Special tokens by name.
    """
    vocabulary = {token: id_ for id_, token in enumerate([*first, *BYTES, *extra])}
    bpe = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    bpe.add_special_tokens([*first, *extra])
    return PreTrainedTokenizerFast(tokenizer_object=bpe, **{"eos_token": END, **named})


def make_folder(
    folder: Path, tokenizer: PreTrainedTokenizerFast | None = None, **changes: Any
) -> Path:
    """Write a random Llama of 2 layers and a tokenizer.

    Args:
        folder: Where.
        tokenizer: By default the plain one, without a pad token.
        changes: Of the configuration.
    """
    tokenizer = tokenizer or make_tokenizer()
    torch.manual_seed(0)
    sizes = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 2048,
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
    }
    LlamaForCausalLM(LlamaConfig(**{**sizes, **changes})).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_instruct(folder: Path, template: str | None = CHATML, eos: str = "<|im_end|>") -> Path:
    """Write a model with a chat template."""
    tokenizer = make_tokenizer(extra=(END, *MARKS), eos_token=eos)
    tokenizer.chat_template = template
    return make_folder(folder, tokenizer)


def edit(folder: Path, file: str, **changes: Any) -> None:
    """Change entries of a JSON file; None takes one out."""
    path = folder / file
    content = json.loads(path.read_text()) if path.exists() else {}
    content |= changes
    gone = [name for name, value in changes.items() if value is None]
    path.write_text(json.dumps({k: v for k, v in content.items() if k not in gone}))


def as_folder(folder: Path, **changes: Any) -> ModelFolder:
    return ModelFolder(name="odd", folder=folder, fingerprint=str(folder), **changes)
