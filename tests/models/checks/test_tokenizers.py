"""Tokenizers as well-known models ship them pass; what transformers 5 reads otherwise does not."""

import json
from pathlib import Path
from typing import Any

import pytest
from hand_made_models import BYTES, END, as_folder
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from almost_kedro.errors import UserError
from almost_kedro.models.checks.job import Findings
from almost_kedro.models.checks.tokenizer import check_tokenizer

WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA_3, QWEN = (WORDS + digits + REST for digits in (r"\p{N}{1,3}", r"\p{N}"))
SENTENCEPIECE = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}


def make_bytes(split: str | None) -> Tokenizer:
    """A byte-level vocabulary with numbers in one piece; `split` cuts texts before it is used."""
    merges = [("1", "2"), ("12", "3"), ("123", "4"), ("1234", "5"), ("Ċ", "Ċ"), ("Ġ", "Ġ")]
    vocabulary = [*BYTES, *map("".join, merges), END]
    made = Tokenizer(models.BPE({token: i for i, token in enumerate(vocabulary)}, merges))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if split:
        cut = pre_tokenizers.Split(Regex(split), "isolated")
        plain = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        made.pre_tokenizer = pre_tokenizers.Sequence([cut, plain])
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([END])
    return made


def make_pieces() -> Tokenizer:
    """What Llama 2 and Mistral have: pieces after "▁", and bytes for all else."""
    special = ["<unk>", "<s>", "</s>"]
    merges = [("▁", "a"), ("a", "n"), ("H", "u"), ("i", "t")]
    pieces = ["▁", "a", "n", "H", "u", "i", "t", *map("".join, merges)]
    vocabulary = [*special, *(f"<0x{i:02X}>" for i in range(256)), *pieces]
    ids = {token: i for i, token in enumerate(vocabulary)}
    made = Tokenizer(models.BPE(ids, merges, fuse_unk=True, byte_fallback=True, unk_token="<unk>"))
    made.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    made.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    made.add_special_tokens(special)
    return made


CASES: dict[str, tuple[Tokenizer, str, dict[str, Any], str | None]] = {
    "Llama 2": (make_pieces(), "llama", {"tokenizer_class": "LlamaTokenizer"}, None),
    "Mistral": (make_pieces(), "mistral", {"tokenizer_class": "LlamaTokenizerFast"}, None),
    "Llama 3": (make_bytes(LLAMA_3), "llama", {"tokenizer_class": "PreTrainedTokenizerFast"}, None),
    "Qwen 2": (make_bytes(QWEN), "qwen2", {"tokenizer_class": "Qwen2Tokenizer"}, None),
    "GPT-2": (make_bytes(None), "gpt2", {"tokenizer_class": "GPT2Tokenizer"}, None),
    "Phi 2": (make_bytes(None), "phi", {"tokenizer_class": "CodeGenTokenizer"}, None),
    "DeepSeek": (make_bytes(LLAMA_3), "llama", {"tokenizer_class": "LlamaTokenizerFast"}, "spaces"),
    "other numbers": (make_bytes(LLAMA_3), "llama", {"tokenizer_class": "GPT2Tokenizer"}, "ids"),
}


@pytest.mark.parametrize("name", CASES)
def test_a_tokenizer_is_refused_where_transformers_reads_it_otherwise(
    name: str, tmp_path: Path
) -> None:
    tokenizer, kind, described, lost = CASES[name]
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    special = SENTENCEPIECE if tokenizer.token_to_id("</s>") else {"eos_token": END}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({**described, **special}))
    rows = tokenizer.get_vocab_size()
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind, "vocab_size": rows}))
    found = Findings()
    if lost is None:
        check_tokenizer(as_folder(tmp_path), rows, found)
        assert found.warnings == []
        assert list(found.refusals) == ["chat_template"]  # it has none
        return
    with pytest.raises(UserError, match="two ways") as caught:
        check_tokenizer(as_folder(tmp_path), rows, found)
    assert ("Whatis2" in str(caught.value)) == (lost == "spaces")
