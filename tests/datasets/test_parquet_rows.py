"""Rows as Parquet come back as they were, whole or not at all, and without a second copy."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from kedro.io import DatasetError, Version
from made_responses import RESPONSE, make_numbered, open_responses
from made_rows import ROWS

from almost_kedro.datasets.parquet_rows import BATCH, ParquetRowsDataset
from almost_kedro.datasets.whole_file import RowsDataset
from almost_kedro.rows.validator import RowsValidator

HOSTILE = [
    "",
    "\x00 in \x00 the middle",
    "\u2028 \x85 \r\n line ends \x0b",
    "\x1b[31mred\x1b[0m \u202eright to left\u202c",
    "emoji 🧑\u200d🔬 and \U0010ffff",
    '"quoted" \\ and \\u0041',
    "naïve é e\u0301",
    "x" * 200_000,
]


@pytest.mark.parametrize(("validator", "row"), ROWS)
def test_rows_of_every_type_come_back_as_they_were(
    validator: type[RowsValidator], row: dict[str, Any], tmp_path: Path
) -> None:
    name = f"{validator.row.__module__}.{validator.row.__name__}"
    dataset = ParquetRowsDataset(filepath=str(tmp_path / "rows.parquet"), row=name)
    for rows in ([], [row], [row, row | {validator.key: "b"}]):
        dataset.save(rows)
        assert dataset.load() == rows
        assert validator().validate(dataset.load()) == rows
        assert list(pq.read_schema(tmp_path / "rows.parquet").names) == list(row)


def test_more_rows_than_a_batch_come_back_in_order(tmp_path: Path) -> None:
    rows = [make_numbered(number) for number in range(2 * BATCH + 1)]
    dataset = open_responses(tmp_path / "rows.parquet")
    dataset.save(rows)
    assert dataset.load() == rows
    assert list(dataset.stream()) == rows


def test_any_text_comes_back_as_from_json_lines(tmp_path: Path) -> None:
    rows = [make_numbered(number, text=text) for number, text in enumerate(HOSTILE)]
    for dataset in (
        open_responses(tmp_path / "rows.parquet"),
        RowsDataset(filepath=str(tmp_path / "rows.jsonl")),
    ):
        dataset.save(rows)
        assert dataset.load() == rows


def test_half_a_surrogate_pair_costs_one_character_and_not_the_run(tmp_path: Path) -> None:
    row = make_numbered(0) | {"text": "a\ud83d b\udc00"}
    for dataset in (
        open_responses(tmp_path / "rows.parquet"),
        RowsDataset(filepath=str(tmp_path / "rows.jsonl")),
    ):
        dataset.save([row])
        assert dataset.load() == [row | {"text": "a\ufffd b\ufffd"}]
    assert row["text"] == "a\ud83d b\udc00"


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    rows = [make_numbered(number) for number in range(BATCH + 5)]
    open_responses(tmp_path / "a").save(rows)
    open_responses(tmp_path / "b").save(dict(row) for row in rows)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_rows_that_are_loaded_share_ids_and_names(tmp_path: Path) -> None:
    dataset = open_responses(tmp_path / "rows.parquet")
    dataset.save([make_numbered(number) for number in range(BATCH + 1)])
    rows = dataset.load()
    first, last = rows[0], rows[BATCH]
    for field in ("prompt_id", "assistant", "finish_reason", "verdict"):
        assert first[field] is last[field]


def test_first_rows_preview_as_a_table(tmp_path: Path) -> None:
    dataset = open_responses(tmp_path / "rows.parquet")
    dataset.save([make_numbered(number) for number in range(30)])
    preview = dataset.preview()
    assert preview["columns"] == list(make_numbered(0))
    assert len(preview["data"]) == 20
    assert preview["data"][3][5] == 3


def test_a_row_with_other_fields_is_refused(tmp_path: Path) -> None:
    dataset = open_responses(tmp_path / "rows.parquet")
    short = make_numbered(0)
    del short["verdict"]
    for row, field in ((short, "verdict"), (make_numbered(0) | {"more": 1}, "more")):
        with pytest.raises(DatasetError, match=f"too many or too few: {field}"):
            dataset.save([row])
    with pytest.raises(DatasetError):
        dataset.save([make_numbered(0) | {"n_tokens": "three"}])
    assert not list(tmp_path.iterdir())


def run_python(script: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", script]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_kill_while_saving_leaves_the_last_whole_version(tmp_path: Path) -> None:
    rows = [make_numbered(0)]
    path = tmp_path / "rows.parquet"
    open_responses(path, Version(None, "1")).save(rows)
    done = run_python(
        "import os\n"
        "from kedro.io import Version\n"
        "from almost_kedro.datasets.parquet_rows import ParquetRowsDataset\n"
        "def rows():\n"
        "    for i in range(50_000):\n"
        f"        yield {make_numbered(0)!r} | {{'text': os.urandom(50).hex()}}\n"
        "    os.kill(os.getpid(), 9)\n"
        f"ParquetRowsDataset(filepath={str(path)!r}, row={RESPONSE!r},\n"
        "    version=Version(None, '2')).save(rows())\n"
    )
    assert done.returncode == -9
    assert (path / "2/rows.parquet.part").stat().st_size
    newest = open_responses(path, Version(None, None))
    assert newest.resolve_load_version() == "1"
    assert newest.load() == rows


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    done = run_python(
        "import resource, os\n"
        "from kedro.io import DatasetError\n"
        "from almost_kedro.datasets.parquet_rows import ParquetRowsDataset\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))\n"
        f"rows = [{make_numbered(0)!r} | {{'text': os.urandom(50).hex()}} for _ in range(30_000)]\n"
        "try:\n"
        f"    ParquetRowsDataset(filepath={str(path)!r}, row={RESPONSE!r}).save(rows)\n"
        "except DatasetError as exc:\n"
        "    print(exc)\n"
    )
    assert done.stdout == f"{path}: could not be written: File too large\n", done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.99])
def test_a_file_cut_short_is_one_clear_line(share: float, tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    dataset = open_responses(path)
    dataset.save([make_numbered(number) for number in range(1000)])
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    for read in (dataset.load, dataset.preview):
        with pytest.raises(DatasetError) as error:
            read()
        assert str(error.value).startswith(f"{path}: cut short, damaged or not a Parquet file")
        assert str(error.value).endswith("delete it and run again, or load another version")
        assert "\n" not in str(error.value)


def test_a_flipped_bit_is_found(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    dataset = open_responses(path)
    dataset.save([make_numbered(number, text=os.urandom(9).hex()) for number in range(1000)])
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(DatasetError, match="cut short, damaged"):
        dataset.load()


MEASURE = """
import sys
from almost_kedro.datasets.parquet_rows import ParquetRowsDataset
from almost_kedro.rows.feedback import Responses

def memory(name):
    for line in open("/proc/self/status"):
        if line.startswith(name):
            return int(line.split()[1]) / 1024

def make(number):
    return {"response_id": f"{number:016x}", "prompt_id": prompts[number % 1000],
            "assistant": "a", "text": f"{number:09}" * 60, "finish_reason": "eos",
            "n_tokens": number % 200, "verdict": "ok", "source_id": ""}

prompts = [f"{number:016x}" for number in range(1000)]
dataset = ParquetRowsDataset(filepath=sys.argv[1], row="almost_kedro.rows.feedback.Response")
# What Arrow and pydantic take once, however many rows there are.
dataset.save([make(number) for number in range(20_000)])
Responses().validate(dataset.load())
before = memory("VmRSS")
if sys.argv[2] == "save":
    rows = [make(number) for number in range(200_000)]
    one_copy = memory("VmRSS") - before
    dataset.save(Responses().validate(rows))
else:
    dataset.save(make(number) for number in range(200_000))
    rows = Responses().validate(dataset.load())
    one_copy = memory("VmRSS") - before
print(len(rows), one_copy, memory("VmHWM") - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="memory is read from /proc")
@pytest.mark.parametrize("what", ["save", "load"])
def test_checked_rows_are_saved_and_loaded_without_a_second_copy(what: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", MEASURE, str(tmp_path / "rows.parquet"), what]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    n, one_copy, peak = map(float, done.stdout.split())
    assert n == 200_000
    assert one_copy > 150
    assert peak < 1.3 * one_copy
