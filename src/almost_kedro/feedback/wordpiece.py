"""What rule 6 compares: WordPiece pieces (original) or words (corrected)."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.implementations import BertWordPieceTokenizer  # type: ignore[attr-defined]

from almost_kedro.errors import UserError
from almost_kedro.feedback.overlap import Tokenize, tokenize_words
from almost_kedro.options.rules import Rules

OPTION = "option prompt_generation.wordpiece"


def choose_tokenizers(rules: Rules, wordpiece: str | None) -> dict[Rules, Tokenize]:
    """Choose what rule 6 compares; raise UserError if `original` has no WordPiece tokenizer."""
    tokenizers: dict[Rules, Tokenize] = {"corrected": tokenize_words}
    if wordpiece is not None:
        tokenizers["original"] = load_wordpiece(wordpiece)
    elif rules == "original":
        raise UserError(
            f"{OPTION}: rule 6 of `rules: original` compares word pieces; "
            "give a lower-cased WordPiece tokenizer by folder or hub id (such as "
            "google-bert/bert-base-uncased), or set rules: corrected"
        )
    return tokenizers


def load_wordpiece(name: str) -> Tokenize:
    """Load a lower-cased WordPiece vocabulary.

    Raises UserError if it is not there, or is another kind of tokenizer. `name` is a folder with
    `tokenizer.json` or `vocab.txt`, or a hub id.
    """
    folder = Path(name)
    if (folder / "vocab.txt").is_file():
        pieces: Tokenizer | BertWordPieceTokenizer = BertWordPieceTokenizer(
            str(folder / "vocab.txt"), lowercase=True
        )
    elif (folder / "tokenizer.json").is_file():
        try:
            pieces = Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as exc:  # tokenizers raises no narrower type
            raise UserError(
                f"{OPTION}: {folder / 'tokenizer.json'} is no tokenizer ({exc}); fetch it again"
            ) from exc
    elif folder.is_dir():
        raise UserError(f"{OPTION}: folder {name} holds neither vocab.txt nor tokenizer.json")
    else:
        try:
            pieces = Tokenizer.from_pretrained(name)
        except Exception as exc:
            raise UserError(
                f"{OPTION}: {name!r} is neither a folder here nor to be had from the hub "
                f"({type(exc).__name__}); give the folder of a lower-cased WordPiece tokenizer"
            ) from exc

    kind = type(pieces.model if isinstance(pieces, Tokenizer) else pieces._tokenizer.model).__name__
    if kind != "WordPiece" or pieces.normalizer is None:
        raise UserError(
            f"{OPTION}: {name!r} is a {kind} tokenizer; give a WordPiece one that lower-cases"
        )

    def tokenize(text: str) -> list[str]:
        return list(pieces.encode(text, add_special_tokens=False).tokens)

    return tokenize
