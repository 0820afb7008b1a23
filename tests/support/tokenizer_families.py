"""Tokenizers of the families that decode in ways of their own, each of a few hundred tokens."""

from collections.abc import Callable

from hand_made_models import make_tokenizer
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

LETTERS = "Asitan:HumTe.,!-\n"
SPECIAL = ("<unk>", "<s>", "</s>")


def make_bytes_as_fallback() -> PreTrainedTokenizerFast:
    """Like Llama 2's: what has no token is written as bytes, which are decoded together."""
    own = ["▁", "▁H", "▁A", "ss", "man", *LETTERS]
    names = [*SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256)), *own]
    vocabulary = {name: id_ for id_, name in enumerate(dict.fromkeys(names))}
    bpe = Tokenizer(models.BPE(vocabulary, [], unk_token="<unk>", byte_fallback=True))
    bpe.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    bpe.decoder = decoders.Sequence([*steps, decoders.Strip(" ", 1, 0)])
    bpe.add_special_tokens(list(SPECIAL))
    return PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="</s>", bos_token="<s>")


def make_word_pieces() -> PreTrainedTokenizerFast:
    """Like BERT's: spaces before punctuation are taken out of the decoded text."""
    words = ["a", "do", "n't", "'", "s", "'s", "##ing", ".", ",", "!", "Human", ":", "is", "'re"]
    vocabulary = {name: id_ for id_, name in enumerate([*SPECIAL, *words])}
    pieces = Tokenizer(models.WordPiece(vocabulary, unk_token="<unk>"))
    pieces.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    pieces.decoder = decoders.WordPiece(cleanup=False)
    pieces.add_special_tokens(list(SPECIAL))
    return PreTrainedTokenizerFast(
        tokenizer_object=pieces,
        eos_token="</s>",
        clean_up_tokenization_spaces=True,
    )


TOKENIZERS: dict[str, Callable[[], PreTrainedTokenizerFast]] = {
    "bytes": make_tokenizer,
    "bytes as fallback": make_bytes_as_fallback,
    "word pieces": make_word_pieces,
}
