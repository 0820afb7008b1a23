"""A million responses and ledger rows: what saving, loading, checking and summarising them takes.

Run: `python benchmarks/rows.py [--rows 1000000]`

Each phase runs in a process of its own and is charged with its peak memory above what the imports
take. "one copy" is what the rows alone take, so that 1.3 means: the rows, and a third on top. Texts
are words drawn at random, about 400 characters. `load` ends when the catalog would hand the rows to
a node: read and validated. `summarise` adds what the nodes do with them: counts and charts.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from almost_kedro.charts.feedback import draw_ledger_waterfall, draw_response_lengths
from almost_kedro.contract import row_id
from almost_kedro.datasets.parquet_rows import ParquetRowsDataset
from almost_kedro.datasets.whole_file import RowsDataset, StreamedRowsDataset
from almost_kedro.feedback.ledger import RuleVerdict, make_ledger_rows, summarise_ledger
from almost_kedro.processes.memory import peak_memory
from almost_kedro.rows.feedback import Ledger, Response, Responses

KINDS = ("responses", "ledger")
FORMATS = ("jsonl", "parquet")
N_ASSISTANTS = 4
RULES = ("rule_12_short", "rule_12_open_end", "rule_12_well", "rule_12_phrase", "rule_12_empty")


def make_responses(n: int) -> list[Any]:
    """Make answers of four assistants, assistant by assistant."""
    draw = random.Random(0)
    words = ["".join(draw.choices("etaoinshrdlu", k=draw.randint(2, 9))) for _ in range(5000)]
    prompt_ids = [row_id("prompt", number) for number in range(n // N_ASSISTANTS)]
    return [
        Response(
            response_id=row_id("response", number),
            prompt_id=prompt_ids[number % len(prompt_ids)],
            assistant=f"llama-2-13b-Faithful-{number * N_ASSISTANTS // n}shot",
            text=" ".join(draw.choices(words, k=draw.randint(30, 95))).capitalize() + ".",
            finish_reason="eos",
            n_tokens=draw.randint(50, 180),
            verdict=draw.choice(RULES) if draw.random() < 0.3 else "ok",
            source_id="",
        )
        for number in range(n)
    ]


def make_ledger(n: int) -> list[Any]:
    """Make a ledger of dropped pairs, which name their parents."""
    draw = random.Random(0)
    ids = [row_id("answer", number) for number in range(n // 2)]
    rows = []
    for number in range(n):
        verdict = RuleVerdict(draw.choice(RULES), f"lengths {draw.random():.3f} apart")
        parents = [ids[number // N_ASSISTANTS], *draw.sample(ids, 2)]
        rows += make_ledger_rows(row_id("pair", number), "corrected", verdict, parent_ids=parents)
    return rows


def summarise(kind: str, rows: list[Any]) -> None:
    """Do what the nodes do with all rows of a dataset."""
    if kind == "ledger":
        summarise_ledger(rows)
        draw_ledger_waterfall([("pairs", len(rows), rows, "comparisons")])
    else:
        draw_response_lengths(rows)


def open_dataset(kind: str, format_: str, folder: Path) -> StreamedRowsDataset:
    """Open a dataset of a kind of rows."""
    path = str(folder / f"{kind}.{format_}")
    if format_ == "jsonl":
        return RowsDataset(filepath=path)
    row = "Response" if kind == "responses" else "LedgerRow"
    return ParquetRowsDataset(filepath=path, row=f"almost_kedro.rows.feedback.{row}")


def run_phase(kind: str, phase: str, format_: str, folder: Path, n: int) -> dict[str, float]:
    """Run one phase in this process; returns its seconds and its peak in MB."""
    make: Callable[[int], list[Any]] = make_responses if kind == "responses" else make_ledger
    validator = Responses() if kind == "responses" else Ledger()
    dataset = open_dataset(kind, format_, folder)
    before = peak_memory()
    rows = make(n) if phase in ("one copy", "save") else []
    start = time.perf_counter()
    if phase == "save":
        dataset.save(validator.validate(rows))
    elif phase != "one copy":
        rows = validator.validate(dataset.load())
        if phase == "summarise":
            summarise(kind, rows)
    assert len(rows) == n
    return {
        "seconds": time.perf_counter() - start,
        "peak": (peak_memory() - before) / 2**20,
    }


def measure(kind: str, phase: str, format_: str, folder: Path, n: int) -> dict[str, float]:
    """Run one phase in a process of its own."""
    command = [sys.executable, __file__, "--rows", str(n), "--phase", kind, phase, format_]
    done = subprocess.run([*command, str(folder)], stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, float] = json.loads(done.stdout)
    return result


def main() -> None:
    """Print one line a phase."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--phase", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.phase:
        kind, phase, format_, folder = options.phase
        print(json.dumps(run_phase(kind, phase, format_, Path(folder), options.rows)))
        return
    print("rows           format   phase      seconds  peak MB  copies  file MB")
    with tempfile.TemporaryDirectory() as name:
        for kind in KINDS:
            copy = measure(kind, "one copy", "jsonl", Path(name), options.rows)["peak"]
            print(f"{kind:14} {'':8} one copy   {'':7} {copy:8.0f} {1:7.2f}", flush=True)
            for format_ in FORMATS:
                file = Path(name) / f"{kind}.{format_}"
                for phase in ("save", "load", "summarise"):
                    cost = measure(kind, phase, format_, Path(name), options.rows)
                    print(
                        f"{kind:14} {format_:8} {phase:10} {cost['seconds']:7.1f} "
                        f"{cost['peak']:8.0f} {cost['peak'] / copy:7.2f} "
                        f"{file.stat().st_size / 2**20:8.0f}",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
