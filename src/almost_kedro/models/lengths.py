"""How many tokens a text has, and how many a model can read; without torch."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from tokenizers import Tokenizer

from almost_kedro.errors import UserError
from almost_kedro.models.files import CONFIG, read_json, text_config


def context_length(folder: Path | None) -> int | None:
    """Return a model's context in tokens; None if no configuration says it."""
    if folder is None:
        return None
    config = read_json(folder.name, folder / CONFIG)
    value = text_config(config).get("max_position_embeddings")
    return int(value) if value else None


def count_tokens(folder: Path | None, text: str) -> int | None:
    """Count a text's tokens without torch; None if there is no tokenizer.json."""
    if folder is None:
        return None
    file = folder / "tokenizer.json"
    if not file.is_file():
        return None
    tokenizer = _load_tokenizer(str(file), file.stat().st_mtime_ns)
    return len(tokenizer.encode(text, add_special_tokens=False).ids)


@lru_cache(maxsize=8)
def _load_tokenizer(file: str, modified: int) -> Tokenizer:
    """Load a tokenizer once for all texts; a file that has changed is loaded anew."""
    try:
        tokenizer = Tokenizer.from_file(file)
    except Exception as exc:  # of no narrower type
        raise UserError(f"{file} is no tokenizer ({exc}); fetch it again") from exc
    # The file may hold a length to which a batch was once padded or cut.
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer
