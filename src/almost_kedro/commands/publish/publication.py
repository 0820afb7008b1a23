"""What is uploaded, and that nothing in it tells where it was made."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from almost_kedro.errors import UserError
from almost_kedro.models.checkpoints import MANIFEST, WEIGHTS, Checkpoint, check_checkpoint
from almost_kedro.rows.json_lines import dump, encode
from almost_kedro.rows.visible_text import make_line

CARD = "README.md"
# An absolute path; its last name is the group. Addresses such as https://x.org/y are none.
PATH = re.compile(r"(?<![\w.:/~-])~?/(?:[^/\s]+/)*([^/\s]+)/?")


@dataclass(frozen=True)
class Publication:
    """Files by their name in the repository, the card among them, and whose licence they have."""

    repo_type: Literal["model", "dataset"]
    title: str
    files: Mapping[str, Path | bytes]
    license_note: str

    @property
    def card(self) -> str:
        """The text of the card."""
        return read_file(self.files[CARD]).decode()


def gather_checkpoint(checkpoint: Checkpoint, card: str) -> dict[str, Path | bytes]:
    """Return the files that the manifest names, the manifest without paths, and the card.

    Raises UserError if a file is missing or has changed since.
    """
    check_checkpoint(checkpoint.folder, verify=True)
    manifest = dump(remove_paths(checkpoint.manifest), MANIFEST, indent=2)
    return {
        **{name: checkpoint.folder / name for name in checkpoint.manifest["files"]},
        MANIFEST: encode(manifest + "\n"),
        CARD: encode(card),
    }


def remove_paths(value: Any) -> Any:
    """Return a document in which an absolute path is only its last name."""
    match value:
        case str():
            return PATH.sub(r"\1", value)
        case Mapping():
            return {remove_paths(key): remove_paths(each) for key, each in value.items()}
        case list() | tuple():
            return [remove_paths(each) for each in value]
        case _:
            return value


def refuse_places(files: Mapping[str, Path | bytes], places: Collection[Path]) -> None:
    """Raise UserError for the first file in which a folder of this machine is named.

    Of weights, only the description before the numbers is looked at, and rows in Parquet not at
    all: they are compressed, and have only what models wrote.
    """
    # With a slash where the name is short: "/root" alone may be a token of a vocabulary.
    names = [f"{place}{'/' * (len(place.parts) == 2)}".encode() for place in places]
    for name, file in files.items():
        if name.endswith(".parquet"):
            continue
        text = read_description(file) if name.endswith(WEIGHTS) else read_file(file)
        # JSON may write a slash with a backslash before it.
        text = text.replace(b"\\/", b"/")
        for place in names:
            if place in text:
                raise UserError(
                    f"{name} names the local folder {place.decode()}, which the world need not "
                    "know; take it out of the file, and train or evaluate anew"
                )


def read_file(file: Path | bytes) -> bytes:
    """Return the bytes of a file."""
    return file if isinstance(file, bytes) else file.read_bytes()


def read_description(file: Path | bytes) -> bytes:
    """Return what stands before the numbers of a safetensors file."""
    assert isinstance(file, Path)
    with file.open("rb") as opened:
        return opened.read(int.from_bytes(opened.read(8), "little"))


def list_files(files: Mapping[str, Path | bytes]) -> Iterator[str]:
    """Say in lines what there is, in bytes."""
    sizes = {
        name: len(file) if isinstance(file, bytes) else file.stat().st_size
        for name, file in sorted(files.items())
    }
    for name, size in sizes.items():
        yield f"{size:>15,}  {make_line(name)}"
    yield f"{sum(sizes.values()):>15,}  in {len(sizes)} files"


def show_head(card: str) -> list[str]:
    """Return the lines of a card's head."""
    head = card.split("---\n", 2)[1]
    return ["---", *map(make_line, head.splitlines()), "---"]
