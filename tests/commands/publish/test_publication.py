"""What is published tells nothing of the machine that it was made on."""

import json
import struct
from pathlib import Path

import pytest

from almost_kedro.commands.publish.licenses import choose_data_license, choose_model_license
from almost_kedro.commands.publish.publication import (
    list_files,
    refuse_places,
    remove_paths,
    show_head,
)
from almost_kedro.errors import UserError
from almost_kedro.pages.cards import write_head

HOME = Path("/home/ann")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/home/ann/data/work.sqlite", "work.sqlite"),
        ("in /home/ann/data/ and ~/models/m", "in data and m"),
        ("--cache=/srv/x", "--cache=x"),
        ("org/model", "org/model"),
        ("https://x.org/a/b", "https://x.org/a/b"),
        ("win/loss", "win/loss"),
        ("a / b", "a / b"),
    ],
)
def test_of_a_path_the_last_name_is_left(text: str, expected: str) -> None:
    assert remove_paths({"a": [text], "n": 3}) == {"a": [expected], "n": 3}


def test_a_path_in_the_name_of_a_field_is_one_too() -> None:
    assert remove_paths({"/home/ann/x": None}) == {"x": None}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.json", b'{"path": "/home/ann/model"}'),
        ("config.json", b'{"path": "\\/home\\/ann\\/model"}'),
        ("README.md", b"made in /home/ann"),
    ],
)
def test_a_file_that_names_a_folder_of_this_machine_is_refused(name: str, content: bytes) -> None:
    with pytest.raises(UserError, match=f"^{name} names the local folder /home/ann, which the"):
        refuse_places({"other.json": b"{}", name: content}, [HOME])


def test_the_description_of_weights_is_looked_at_and_their_numbers_are_not(tmp_path: Path) -> None:
    weights = tmp_path / "model.safetensors"
    for told, numbers in (({}, b"/home/ann"), ({"__metadata__": {"from": "/home/ann/m"}}, b"")):
        head = json.dumps(told).encode()
        weights.write_bytes(struct.pack("<Q", len(head)) + head + numbers)
        if numbers:
            refuse_places({"model.safetensors": weights}, [HOME])
    with pytest.raises(UserError, match=r"^model\.safetensors names the local folder /home/ann"):
        refuse_places({"model.safetensors": weights}, [HOME])


def test_a_token_of_a_vocabulary_is_no_folder() -> None:
    refuse_places({"tokenizer.json": b'{"/root": 7}'}, [Path("/root")])
    with pytest.raises(UserError, match="names the local folder /root/, which"):
        refuse_places({"tokenizer.json": b'{"/root/x": 7}'}, [Path("/root")])


def test_files_are_listed_with_their_sizes() -> None:
    assert list(list_files({"b": b"x" * 1234, "a\x1b": b"1"})) == [
        "              1  a\\x1b",
        "          1,234  b",
        "          1,235  in 2 files",
    ]


def test_the_head_of_a_card_is_shown() -> None:
    card = write_head({"license": "mit", "tags": ["a", "b"]}, "# Text\n---\n")
    assert show_head(card) == ["---", 'license: "mit"', 'tags: ["a", "b"]', "---"]


def test_a_stated_licence_is_used_and_said() -> None:
    entry = {"source": "wheel", "license": "Apache-2.0", "terms": None}
    assert choose_model_license(None, "m", entry) == (
        "apache-2.0",
        "licence: apache-2.0, which models.yml states of m",
    )
    assert choose_model_license("mit", "m", entry)[0] == "mit"
    gemma = {"source": "wheel", "license": "Gemma", "terms": "https://x"}
    assert choose_model_license(None, "m", gemma)[0] == "other"


@pytest.mark.parametrize("entry", [None, {"source": "tiny"}, {"source": "hub", "id": "o/m"}])
def test_no_licence_is_guessed(entry: dict[str, str] | None) -> None:
    with pytest.raises(
        UserError, match=r"^models\.yml states no licence of m, from which this was"
    ):
        choose_model_license(None, "m", entry)
    with pytest.raises(UserError, match=r"wrote them \(m: Apache-2\.0\); state the one"):
        choose_data_license(None, {"m": "Apache-2.0"})
