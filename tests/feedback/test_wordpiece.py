import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer, normalizers, pre_tokenizers
from tokenizers.models import WordPiece

from almost_kedro.errors import UserError
from almost_kedro.feedback.wordpiece import choose_tokenizers, load_wordpiece

VOCABULARY = ["[UNK]", "[CLS]", "[SEP]", "play", "##ing", "un", "?", "cat", "##s"]


def test_a_vocabulary_file_gives_lower_cased_pieces(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("\n".join(VOCABULARY))
    tokenize = load_wordpiece(str(tmp_path))
    assert tokenize("Playing CATS?") == ["play", "##ing", "cat", "##s", "?"]


def test_a_tokenizer_file_will_do(tmp_path: Path) -> None:
    pieces = Tokenizer(WordPiece({t: i for i, t in enumerate(VOCABULARY)}, unk_token="[UNK]"))
    pieces.normalizer = normalizers.Lowercase()
    pieces.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    pieces.save(str(tmp_path / "tokenizer.json"))
    assert json.loads((tmp_path / "tokenizer.json").read_text())
    assert load_wordpiece(str(tmp_path))("Playing?") == ["play", "##ing", "?"]


def test_a_folder_without_a_vocabulary_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds neither vocab.txt nor tokenizer.json"):
        load_wordpiece(str(tmp_path))


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text('{"model": ')
    with pytest.raises(UserError, match=r"tokenizer.json is no tokenizer .*; fetch it again"):
        load_wordpiece(str(tmp_path))


@pytest.mark.slow
def test_a_tokenizer_that_can_not_be_had_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match="'nobody/nothing' is neither a folder here nor to be had"):
        load_wordpiece("nobody/nothing")


def test_original_rules_ask_for_a_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"prompt_generation.wordpiece: rule 6 of `rules: original`"
    ):
        choose_tokenizers("original", None)
    assert choose_tokenizers("corrected", None)["corrected"]("A b?") == ["a", "b", "?"]
