"""What a model reads of a row, token by token; the tiny tokenizer has a token for each byte."""

from pathlib import Path
from typing import Any

from hand_made_models import make_instruct
from training_jobs import as_folder

from almost_kedro.models.texts import TextEncoder
from almost_kedro.rows.json_lines import read_rows, write_rows
from almost_kedro.training.show_tokens import main
from almost_kedro.training.tokens_job import TokensJob

ROW = {"id": "r", "dialogue": "\n\nHuman: a?\n\nAssistant:", "chosen": "Yes.", "rejected": "N€"}
N_DIALOGUE = len(ROW["dialogue"])


def read(tiny: Path, folder: Path, max_length: int, **changes: Any) -> list[dict[str, Any]]:
    write_rows(folder / "rows.jsonl", [ROW])
    job = TokensJob(
        model=as_folder(tiny).model_copy(update=changes),
        rows=folder / "rows.jsonl",
        fields=["chosen", "rejected"],
        separator=" ",
        max_length=max_length,
        out=folder / "out.jsonl",
    )
    (folder / "job.json").write_text(job.model_dump_json())
    assert main(str(folder / "job.json")) == 0
    return list(read_rows(job.out))


def test_ids_and_labels_are_the_encoders(tiny: Path, tmp_path: Path) -> None:
    texts = read(tiny, tmp_path, 256)
    encoder = TextEncoder(as_folder(tiny), " ", 256)
    assert [(text["id"], text["field"]) for text in texts] == [("r", "chosen"), ("r", "rejected")]
    for text in texts:
        own = encoder.encode(ROW["dialogue"], ROW[text["field"]])
        assert (text["ids"], text["labels"]) == (own.ids, own.labels)
        assert (text["n_dialogue"], text["n_end"], text["cut"]) == (N_DIALOGUE, 1, 0)


def test_a_chat_template_ends_an_answer_by_all_that_it_puts_after_it(tmp_path: Path) -> None:
    model = make_instruct(tmp_path / "m")
    chosen, rejected = read(model, tmp_path, 256, template="own")
    assert chosen["texts"][-2:] == rejected["texts"][-2:] == ["<|im_end|>", "\n"]
    assert chosen["n_end"] == rejected["n_end"] == 2


def test_each_token_is_named_and_decoded(tiny: Path, tmp_path: Path) -> None:
    chosen, rejected = read(tiny, tmp_path, 256)
    assert "".join(chosen["texts"]) == "\n\nHuman: a?\n\nAssistant: Yes.<eos>"
    assert chosen["names"][-6:] == ["Ġ", "Y", "e", "s", ".", "<eos>"]
    # A third of a character is no text of its own.
    assert rejected["texts"][-5:] == ["N", "�", "�", "�", "<eos>"]


def test_a_text_that_is_too_long_says_what_it_lost(tiny: Path, tmp_path: Path) -> None:
    chosen, _ = read(tiny, tmp_path, 10)
    assert (len(chosen["ids"]), chosen["cut"]) == (10, N_DIALOGUE + 6 - 10)
    assert "".join(chosen["texts"]) == "ant: Yes.<eos>"
    assert chosen["n_dialogue"] == 4
