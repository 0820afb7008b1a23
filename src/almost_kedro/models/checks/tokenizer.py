"""Checks a tokenizer: that it loses no text, and that the tokens it names exist."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import partial
from itertools import chain
from pathlib import Path

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase

from almost_kedro.contract import LETTERS, ModelFolder
from almost_kedro.errors import UserError
from almost_kedro.models.checks.job import Findings
from almost_kedro.models.checks.reading import explain, read
from almost_kedro.models.files import CONFIG, TOKENIZER, TOKENIZER_CONFIG, shorten
from almost_kedro.models.tokens import ChatTemplate, Encoder, is_text, load_tokenizer, read_plainly

# Spaces, line breaks, digits, code and "!". Loss of the other texts is only a warning.
TEXTS = (
    "\n\nHuman: What is 2 + 12345? I don't know!\n\nAssistant: Well, it is 12347.\n",
    "def double(x):\n    return [x, {'y': 2 * x}]  # ok\n\n\nprint(double(3.14))\n",
)
OTHER_TEXTS = ("Füße, naïve café — 你好。 Привет! こんにちは 🙂",)
# Of one turn and of two, to be answered.
DIALOGUES = (
    "\n\nHuman: Why?\n\nAssistant:",
    "\n\nHuman: Why?\n\nAssistant: So.\n\nHuman: And then?\n\nAssistant:",
)
REMEDY = "; set dialogue: plain, or give an instruct model"
# Tokens at a text's start by which two readings may differ: some put a space there.
LEADING = 2


def check_tokenizer(model: ModelFolder, rows: int | None, found: Findings) -> None:
    """Refuse a tokenizer that can't be loaded, loses text, or names tokens that it lacks.

    `rows` is the number of tokens that have an embedding. `found` gets what does not forbid every
    use.
    """
    assert model.folder
    failure = f"its tokenizer can't be loaded by transformers from {model.folder}"
    if model.pad_token:
        own = read(failure, partial(load_tokenizer, model.folder, model.trust_remote_code))
        check_pad_option(model.pad_token, own)
    encoder = read(
        failure,
        partial(Encoder, model.folder, model.bos, model.trust_remote_code, model.pad_token),
    )
    check_special_tokens(encoder, rows, found)
    check_readings(encoder.tokenizer, model.folder / TOKENIZER, found)
    if rows is not None:
        check_text_ids(encoder.tokenizer, rows)
    check_chat_template(encoder.tokenizer, found)
    check_letters(encoder.tokenizer, found)


def check_chat_template(tokenizer: PreTrainedTokenizerBase, found: Findings) -> None:
    """Find out whether dialogues can be written by the model's own chat template."""
    try:
        if tokenizer.eos_token_id is None:
            raise UserError("its tokenizer has no eos token")
        template = ChatTemplate(tokenizer)
        for dialogue in DIALOGUES:
            template.write_answered(dialogue, "A text.")
    except UserError as exc:
        found.refusals["chat_template"] = str(exc) + REMEDY
    except Exception as exc:  # whatever a template raises
        found.refusals["chat_template"] = f"its chat template fails ({explain(exc)})" + REMEDY


def check_letters(tokenizer: PreTrainedTokenizerBase, found: Findings) -> None:
    """Find out whether the model can answer with a letter."""
    for lead in ("", " "):
        letters = read_plainly(tokenizer, [lead + letter for letter in LETTERS])
        lost = tokenizer.unk_token_id in chain(*letters) or not all(letters)
        if lost or letters[0] == letters[1]:
            found.refusals["judge"] = (
                f"its vocabulary has no letters {' and '.join(LETTERS)}, by which a judge answers; "
                "name another model as evaluation.judge"
            )


def check_pad_option(pad: str, tokenizer: PreTrainedTokenizerBase) -> None:
    """Refuse a `pad_token` of models.yml that is missing, the eos token, or ordinary text."""
    if pad not in tokenizer.get_vocab():
        special = [str(token) for token in tokenizer.added_tokens_decoder.values() if token.special]
        raise UserError(
            f"its tokenizer has no token {pad!r} (pad_token in models.yml); name one of "
            f"{shorten(special) or 'its special tokens'}, or leave pad_token out"
        )
    if pad == tokenizer.eos_token:
        raise UserError(
            f"pad_token {pad!r} in models.yml is its eos token; name another, or leave it out"
        )
    if is_text(tokenizer, tokenizer.convert_tokens_to_ids(pad)):
        raise UserError(
            f"pad_token {pad!r} in models.yml is a token of ordinary text, and every one of it "
            "would vanish from answers; name a special token, or leave it out"
        )


def check_special_tokens(encoder: Encoder, rows: int | None, found: Findings) -> None:
    """Refuse special tokens that are missing where needed, have no embedding, or are text."""
    tokenizer = encoder.tokenizer
    if encoder.bos == [None]:
        raise UserError("its tokenizer has no bos token, and models.yml says bos: true; drop that")
    ids = {"eos": tokenizer.eos_token_id, "bos": next(iter(encoder.bos), None)}
    for kind, id_ in {**ids, "pad": tokenizer.pad_token_id}.items():
        if id_ is not None and rows is not None and id_ >= rows:
            token = tokenizer.convert_ids_to_tokens(id_)
            remedy = "name another as pad_token in models.yml, or " if kind == "pad" else ""
            raise UserError(
                f"its {kind} token {token!r} has id {id_}, and there are {rows} embeddings; "
                f"{remedy}mend {kind}_token in {TOKENIZER_CONFIG}"
            )
    pad = tokenizer.pad_token
    if encoder.pad is None and pad not in (None, tokenizer.unk_token, tokenizer.eos_token):
        raise UserError(
            f"its pad token {pad!r} is a token of ordinary text, and every one of it would vanish "
            f"from answers; take pad_token out of {TOKENIZER_CONFIG} (where {TOKENIZER} calls the "
            "token special, that too), or name a special one as pad_token in models.yml"
        )
    if tokenizer.eos_token_id is None:
        reason = (
            "its tokenizer has no eos token, with which training ends each text; name one as "
            f"eos_token in {TOKENIZER_CONFIG}"
        )
        found.refusals |= {"reward": reason, "policy": reason}


def check_readings(tokenizer: PreTrainedTokenizerBase, file: Path, found: Findings) -> None:
    """Compare texts with what they come back as, and their tokens with those of tokenizer.json.

    `file` is tokenizer.json, `tokenizer` is as transformers reads it. `found` gets what is changed
    and not lost. Raises UserError if text is lost, or if the two readings differ.
    """
    texts = [*TEXTS, *OTHER_TEXTS]
    ids = read_plainly(tokenizer, texts)
    back = [tokenizer.decode(each, skip_special_tokens=True) for each in ids]
    own = read_file(file, texts, tokenizer.eos_token) if file.is_file() else ids
    if any(map(differ, own, ids)):
        raise UserError(
            f"its tokenizer is read in two ways: as {type(tokenizer).__name__}, for which "
            f"{TOKENIZER_CONFIG} or {CONFIG} stands, {texts[0][:20]!r} comes back as "
            f"{back[0][:20]!r} and has {len(ids[0])} tokens, by {TOKENIZER} alone {len(own[0])}; "
            f"set tokenizer_class: PreTrainedTokenizerFast in {TOKENIZER_CONFIG}"
        )
    for before, after in zip(texts, back, strict=True):
        if before in TEXTS and strip_form(before) != strip_form(after):
            raise UserError(
                f"its tokenizer loses text: {before[:40]!r} comes back as {after[:40]!r}; give a "
                "model whose tokenizer keeps spaces, line breaks and punctuation"
            )
        if before.strip() != after.strip():
            found.warnings.append(
                f"its tokenizer does not keep every text as it is: {before[:40]!r} comes back as "
                f"{after[:40]!r}"
            )


def read_file(file: Path, texts: Sequence[str], eos: str | None) -> list[list[int]]:
    """Return each text's token ids as the tokenizers library reads them from tokenizer.json.

    Raises UserError if the eos token is not in it: transformers adds one that no model has learned.
    """
    tokenizer = Tokenizer.from_file(str(file))
    if eos is not None and tokenizer.token_to_id(eos) is None:
        raise UserError(
            f"its eos token {eos!r} is not in {TOKENIZER}; mend eos_token in {TOKENIZER_CONFIG}"
        )
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.encode_special_tokens = True
    return [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]


def differ(a: list[int], b: list[int]) -> bool:
    """Tell whether two readings of a text differ in more than how it starts."""
    same = max(min(len(a), len(b)) - LEADING, 1)
    return a[-same:] != b[-same:] or abs(len(a) - len(b)) > LEADING


def strip_form(text: str) -> str:
    """Return a text without what some tokenizers change: case, width, repeated spaces and lines."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    return re.sub(r"\n+", "\n", re.sub(r" +", " ", plain)).replace(" \n", "\n").strip()


def check_text_ids(tokenizer: PreTrainedTokenizerBase, rows: int) -> None:
    """Refuse a vocabulary that is larger than the embeddings.

    Special tokens that nothing names may lack an embedding: no text is read as one of them.
    """
    special = {id_ for id_, token in tokenizer.added_tokens_decoder.items() if token.special}
    ids = tokenizer.get_vocab()
    beyond = [token for token in sorted(ids, key=ids.__getitem__) if ids[token] >= rows]
    if texts := [token for token in beyond if ids[token] not in special]:
        raise UserError(
            f"its tokenizer has tokens without one of the {rows} embeddings ({shorten(texts)}); "
            "give the tokenizer that the model was trained with"
        )
