import subprocess
import sys
from pathlib import Path

import pytest
from kedro.io import DatasetError, Version

from almost_kedro.datasets.text_files import TextFilesDataset
from almost_kedro.datasets.whole_file import (
    FigureDataset,
    FolderDataset,
    JSONFileDataset,
    PageDataset,
    RowsDataset,
    TextFileDataset,
)

ROWS = [
    {"id": "007", "text": "1\u20282\x85 naïve", "ids": ["1e5"]},
    {"id": "8", "text": "", "ids": []},
]


def test_rows_come_back_as_they_were(tmp_path: Path) -> None:
    dataset = RowsDataset(filepath=str(tmp_path / "rows.jsonl"))
    dataset.save(ROWS)
    assert dataset.load() == ROWS
    assert len((tmp_path / "rows.jsonl").read_bytes().split(b"\n")) == 3


def test_no_rows_are_an_empty_file(tmp_path: Path) -> None:
    dataset = RowsDataset(filepath=str(tmp_path / "rows.jsonl"))
    dataset.save([])
    assert dataset.load() == []
    assert dataset.preview() == {"index": [], "columns": [], "data": []}


def test_versions_are_kept_apart(tmp_path: Path) -> None:
    path = str(tmp_path / "rows.jsonl")
    for version in ("2026-01-01", "2026-01-02"):
        RowsDataset(filepath=path, version=Version(None, version)).save([{"v": version}])
    assert RowsDataset(filepath=path, version=Version(None, None)).load() == [{"v": "2026-01-02"}]
    assert RowsDataset(filepath=path, version=Version("2026-01-01", None)).load() == [
        {"v": "2026-01-01"}
    ]


def test_a_kill_while_saving_leaves_the_last_whole_version(tmp_path: Path) -> None:
    path = str(tmp_path / "rows.jsonl")
    RowsDataset(filepath=path, version=Version(None, "1")).save(ROWS)
    script = (
        "import os\n"
        "from kedro.io import Version\n"
        "from almost_kedro.datasets.whole_file import RowsDataset\n"
        "def rows():\n"
        "    for i in range(100_000):\n"
        "        yield {'i': i}\n"
        "    os.kill(os.getpid(), 9)\n"
        f"RowsDataset(filepath={path!r}, version=Version(None, '2')).save(rows())\n"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -9
    assert RowsDataset(filepath=path, version=Version(None, None)).load() == ROWS


def test_a_place_that_can_not_be_written_is_one_line() -> None:
    with pytest.raises(DatasetError, match="could not be written: "):
        RowsDataset(filepath="/proc/almost_kedro/rows.jsonl").save(ROWS)


def test_a_line_that_is_not_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"a": 1}\n{"a": \n')
    with pytest.raises(DatasetError, match=r"rows.jsonl, line 2: not JSON"):
        RowsDataset(filepath=str(tmp_path / "rows.jsonl")).load()


def test_rows_preview_as_a_table(tmp_path: Path) -> None:
    dataset = RowsDataset(filepath=str(tmp_path / "rows.jsonl"))
    dataset.save(ROWS)
    preview = dataset.preview(nrows=1)
    assert preview["columns"] == ["id", "text", "ids"]
    assert preview["data"] == [["007", ROWS[0]["text"], '["1e5"]']]


def test_documents_texts_and_figures_come_back(tmp_path: Path) -> None:
    for kind, data in (
        (JSONFileDataset, {"a": [1, None, "é"]}),
        (TextFileDataset, "one\ntwo\n"),
        (FigureDataset, {"data": [], "layout": {"title": {"text": "t"}}}),
    ):
        dataset = kind(filepath=str(tmp_path / kind.__name__))
        dataset.save(data)
        assert dataset.load() == data
        assert dataset.preview()


def test_a_preview_shows_the_beginning_of_a_long_text(tmp_path: Path) -> None:
    long = "x" * 1_000_000
    rows = RowsDataset(filepath=str(tmp_path / "rows.jsonl"))
    rows.save([{"id": "1", "text": long, "ids": [long]}])
    assert [len(cell) for cell in rows.preview()["data"][0]] == [1, 2000, 2000]
    text = TextFileDataset(filepath=str(tmp_path / "text"))
    text.save(f"one\n{long}\n")
    assert [len(line) for [line] in text.preview()["data"]] == [3, 2000]


def test_a_page_is_previewed_by_its_place(tmp_path: Path) -> None:
    path = tmp_path / "<b>\u202e" / "report.html"
    page = PageDataset(filepath=str(path))
    page.save("<script>alert(1)</script>")
    assert page.load() == "<script>alert(1)</script>"
    preview = page.preview()
    assert r"/&lt;b&gt;\u202e/report.html</p>" in preview
    assert "script" not in preview


def test_files_of_a_folder_preview_by_their_beginnings(tmp_path: Path) -> None:
    (tmp_path / "B_prompt.txt").write_text("Below.\n" + "x" * 5000)
    (tmp_path / "A_prompt.txt").write_text("Above.")
    (tmp_path / "seed_prompts.txt").write_text("Hello?")
    files = TextFilesDataset(path=str(tmp_path), filename_suffix="_prompt.txt")
    assert files.load()["A"]() == "Above."
    preview = files.preview()
    assert preview["columns"] == ["name", "text"]
    assert preview["data"] == [["A", "Above."], ["B", "Below.\n" + "x" * 1993]]


def open_demonstrations(folder: Path) -> TextFilesDataset:
    return TextFilesDataset(path=str(folder), filename_suffix="_prompt.txt")


def test_what_editors_and_systems_leave_is_left_out(tmp_path: Path) -> None:
    for name in (
        "HHH_prompt.txt~",
        ".HHH_prompt.txt.swp",
        "#HHH_prompt.txt#",
        ".#HHH_prompt.txt",
        "._HHH_prompt.txt",
        "~$HHH_prompt.txt",
        ".HHH_prompt.txt",
        "_prompt.txt",
        "HHH_prompt.txt.bak",
        "HHH_prompt (copy).txt",
        "HHH_prompt.txt.part",
        ".DS_Store",
        "Thumbs.db",
        "desktop.ini",
    ):
        (tmp_path / name).write_bytes(b"\xff\xd8\0")
    for folder in ("Folder_prompt.txt", "__pycache__", ".ipynb_checkpoints"):
        (tmp_path / folder).mkdir()
    (tmp_path / ".ipynb_checkpoints/HHH-checkpoint_prompt.txt").write_bytes(b"\xff")
    (tmp_path / "Dangling_prompt.txt").symlink_to(tmp_path / "nowhere")
    (tmp_path / "HHH_prompt.txt").write_text("Header.")
    files = open_demonstrations(tmp_path).load()
    assert {name: load() for name, load in files.items()} == {"HHH": "Header."}


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"\xef\xbb\xbfHeader.\n", "Header.\n"),
        (b"Header.\r\n\r\n-----\r\n", "Header.\n\n-----\n"),
        (b"Header.\r\r-----\r", "Header.\n\n-----\n"),
        (b"", ""),
        ("Größe \u2028 日本".encode(), "Größe \u2028 日本"),
    ],
)
def test_texts_of_all_systems_are_read(data: bytes, text: str, tmp_path: Path) -> None:
    (tmp_path / "A_prompt.txt").write_bytes(data)
    assert open_demonstrations(tmp_path).load()["A"]() == text
    assert TextFileDataset(filepath=str(tmp_path / "A_prompt.txt")).load() == text


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("Header".encode("utf-16"), "byte 0: not UTF-8; save it as UTF-8"),
        ("Header".encode("utf-16-le"), "byte 1: a zero, which no text has; save it as UTF-8"),
        (b"caf\xe9", "byte 3: not UTF-8; save it as UTF-8"),
    ],
)
def test_texts_in_another_encoding_are_one_clear_line(
    data: bytes, message: str, tmp_path: Path
) -> None:
    (tmp_path / "A_prompt.txt").write_bytes(data)
    with pytest.raises(DatasetError, match=f"A_prompt.txt, {message}$"):
        open_demonstrations(tmp_path).load()["A"]()


def test_a_folder_of_texts_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="nowhere: no such folder; set the option assets_root"):
        open_demonstrations(tmp_path / "nowhere").load()


def test_a_folder_is_made_and_is_absolute(tmp_path: Path) -> None:
    dataset = FolderDataset(filepath=str(tmp_path / "a/b"))
    assert dataset.load() == tmp_path / "a/b"
    assert (tmp_path / "a/b").is_dir()
    with pytest.raises(DatasetError, match="filled by programs"):
        dataset.save(tmp_path)
