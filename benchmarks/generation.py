"""Tokens a second of generation: ours beside transformers and vLLM, on the same requests.

Run: `python benchmarks/generation.py --out build/generation.json [--only ours,vllm] [--dry-run]`

Same model, demonstrations, prompts and sampling (temperature 1.0); bfloat16, or what `--dtype`
says; exactly `--new-tokens` tokens each, as nothing ends a text. Every measurement is a process of
its own (`generation_engines.py`), one at a time; the engines take turns, and medians of `--repeats`
count. A process loads its engine, writes four tokens after two unrelated short texts, and is then
timed from texts to texts. So compiling counts as loading, the demonstrations count as generation,
and no cache knows them. There is no request cache.

Without `--prompts`, `--shots` or `--top-p`, the cells are those of docs/speed.md: all engines on
128 and 32 prompts, and ours and vLLM over numbers of prompts and shots. With any of them, the cells
are all combinations. Slow engines get at most 128 prompts. Every finished run is in `--out` at
once, and is not repeated on the same commit.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from almost_kedro.hooks.run_facts import read_commit
from almost_kedro.processes.run import QUIET, TUNABLES
from almost_kedro.rows.json_lines import write_whole

PROJECT = Path(__file__).parents[1]
MODEL = PROJECT / "data/01_raw/models/smollm2-135m"
VLLM_PYTHON = PROJECT / ".venv-vllm/bin/python"
MARK = "@result "
LAST_LINES = 8

LABELS = {
    "original": "`generate`, batches of 4",
    "plain": "`generate`, batches of 64",
    "continuous": "transformers' continuous batching",
    "vllm": "vLLM",
    "vllm_cores": "vLLM, all cores",
    "vllm_process": "vLLM, one process",
    "ours": "ours",
}
USUAL = ("original", "plain", "continuous", "vllm", "ours")
SLOW, SLOW_LIMIT = ("original", "plain", "continuous"), 128
# The workload that others differ from in one thing, and what they have instead.
PROMPTS, SHOTS, TOP_P = 128, 3, 0.9
SWEEP_PROMPTS, SWEEP_SHOTS = (32, 64, 128, 256, 512, 1024), (0, 1, 2, 3, 4, 5)
# For estimates only: tokens a second with demonstrations, on two cores, and seconds of loading.
GUESSED_SPEED, GUESSED_LOADING = {"vllm": 100, "ours": 250}, {"vllm": 60}
# Of what /proc/cpuinfo lists, what these engines make use of.
INSTRUCTIONS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_tile")


class Cell(NamedTuple):
    """What is measured: an engine on a workload."""

    engine: str
    prompts: int
    shots: int
    top_p: float
    new_tokens: int

    @property
    def workload(self) -> tuple[float, ...]:
        """Everything but the engine."""
        return self[1:]


class Subject(NamedTuple):
    """What all cells of a table have in common."""

    commit: str
    model: str
    dtype: str

    @classmethod
    def read(cls, run: Mapping[str, Any]) -> Subject:
        """Say which a run is of."""
        return cls(*(run[name] for name in cls._fields))


class Figures(NamedTuple):
    """Medians of a cell's runs; the memory is their largest, the spread what they differ by."""

    speed: float
    speed_with_loading: float
    load_seconds: float
    memory_mb: float
    spread: float
    runs: int


def plan_default(engines: Sequence[str], new_tokens: int) -> list[Cell]:
    """List the cells of docs/speed.md, those of one workload together."""
    compared = [(PROMPTS, SHOTS, TOP_P), (32, SHOTS, TOP_P), (PROMPTS, 0, TOP_P)]
    compared.append((PROMPTS, SHOTS, 1.0))
    swept = [(prompts, SHOTS, TOP_P) for prompts in SWEEP_PROMPTS]
    swept += [(PROMPTS, shots, TOP_P) for shots in SWEEP_SHOTS]
    cells = [Cell(e, *workload, new_tokens) for workload in compared for e in engines]
    fast = [e for e in engines if e not in SLOW]
    cells += [Cell(e, *workload, new_tokens) for workload in swept for e in fast]
    return list(dict.fromkeys(cells))


def plan_product(
    engines: Sequence[str],
    prompts: Sequence[int],
    shots: Sequence[int],
    top_p: Sequence[float],
    new_tokens: int,
) -> list[Cell]:
    """List all combinations, but for slow engines on many prompts."""
    return [
        Cell(engine, *workload, new_tokens)
        for workload in product(prompts, shots, top_p)
        for engine in engines
        if engine not in SLOW or workload[0] <= SLOW_LIMIT
    ]


def order_runs(cells: Sequence[Cell], repeats: int) -> Iterator[tuple[Cell, int]]:
    """Let the engines of a workload take turns."""
    for workload in dict.fromkeys(cell.workload for cell in cells):
        for repeat in range(repeats):
            yield from ((cell, repeat) for cell in cells if cell.workload == workload)


def name_run(run: Mapping[str, Any]) -> tuple[Any, ...]:
    """Say which run it is: what must agree for it not to be repeated."""
    return (Subject.read(run), run["repeat"], *(run[name] for name in Cell._fields))


def list_missing(
    cells: Sequence[Cell], repeats: int, subject: Subject, done: Sequence[Mapping[str, Any]]
) -> list[tuple[Cell, int]]:
    """List the runs that have not been done of this, in their order."""
    names = {name_run(run) for run in done}
    return [
        (cell, repeat)
        for cell, repeat in order_runs(cells, repeats)
        if (subject, repeat, *cell) not in names
    ]


def estimate_minutes(cell: Cell) -> float:
    """Guess what a run takes."""
    family = cell.engine.partition("_")[0]
    seconds = cell.prompts * cell.new_tokens / GUESSED_SPEED.get(family, 20)
    return (seconds + GUESSED_LOADING.get(family, 5)) / 60


def describe_cell(cell: Cell) -> str:
    """Name a cell in a line of output."""
    return f"{cell.engine}: {cell.prompts} prompts, {cell.shots} shots, top_p {cell.top_p}"


def run_child(cell: Cell, model: Path, dtype: str, python: Path) -> dict[str, Any] | None:
    """Measure in a process of its own; None, and its last lines on stderr, if it fails."""
    job = {**cell._asdict(), "model": str(model), "dtype": dtype, "started": time.time()}
    command = [str(python), str(Path(__file__).with_name("generation_engines.py"))]
    # As our programs are started; the others get it, too.
    env = {**TUNABLES, **os.environ, **QUIET}
    env |= {"HF_HUB_OFFLINE": "1", "PYTHONPATH": str(PROJECT / "src")}
    done = subprocess.run(
        [*command, json.dumps(job)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=env,
        check=False,
    )
    lines = done.stdout.splitlines()
    for line in lines:
        if line.startswith(MARK):
            return dict(json.loads(line.removeprefix(MARK)))
    print(f"{cell.engine} ended with status {done.returncode}:", file=sys.stderr)
    print("\n".join(lines[-LAST_LINES:]), file=sys.stderr, flush=True)
    return None


def describe_machine() -> dict[str, Any]:
    """Say what this is measured on."""
    lines: list[str] = []
    if Path("/proc/cpuinfo").is_file():
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    facts = {
        key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)
    }
    flags = facts.get("flags", "").split()
    return {
        "cpu": facts.get("model name") or platform.processor(),
        "cores": os.cpu_count(),
        "instructions": [name for name in INSTRUCTIONS if name in flags],
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def summarise(runs: Sequence[Mapping[str, Any]], subject: Subject) -> dict[Cell, Figures]:
    """Take the medians of each cell's runs of a subject."""
    found: dict[Cell, list[Mapping[str, Any]]] = {}
    for run in runs:
        if Subject.read(run) == subject:
            found.setdefault(Cell(*(run[name] for name in Cell._fields)), []).append(run)
    figures = {}
    for cell, each in found.items():
        speeds = [run["tokens"] / run["seconds"] for run in each]
        loaded = [run["tokens"] / (run["seconds"] + run["load_seconds"]) for run in each]
        figures[cell] = Figures(
            statistics.median(speeds),
            statistics.median(loaded),
            statistics.median(run["load_seconds"] for run in each),
            max(run["peak_memory_mb"] for run in each),
            (max(speeds) - min(speeds)) / statistics.median(speeds),
            len(each),
        )
    return figures


def format_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def format_ratio(figures: Mapping[Cell, Figures], cell: Cell) -> str:
    """Say how many times as fast ours is on the same workload."""
    ours = figures.get(cell._replace(engine="ours"))
    if ours is None or cell.engine == "ours" or cell not in figures:
        return ""
    return f"{ours.speed / figures[cell].speed:.2f} \u00d7"


def tabulate_engines(figures: Mapping[Cell, Figures]) -> str:
    """Compare all engines on those workloads on which a slow one was measured, if any was."""
    workloads = dict.fromkeys(cell.workload for cell in figures if cell.engine in SLOW)
    rows = []
    for workload in workloads or dict.fromkeys(cell.workload for cell in figures):
        prompts, shots, top_p, _ = workload
        for cell in (Cell(engine, *workload) for engine in LABELS):  # type: ignore[arg-type]
            if cell in figures:
                found = figures[cell]
                rows.append(
                    (
                        f"{prompts:,}",
                        str(shots),
                        str(top_p),
                        LABELS[cell.engine],
                        f"{found.speed:,.0f}",
                        f"{found.speed_with_loading:,.0f}",
                        f"{found.memory_mb:,.0f}",
                        format_ratio(figures, cell),
                    )
                )
    heads = (
        "prompts",
        "shots",
        "top_p",
        "engine",
        "tokens/s",
        "with loading",
        "peak MB",
        "ours is",
    )
    return format_table(heads, rows)


def tabulate_sweep(figures: Mapping[Cell, Figures], field: str) -> str:
    """Set ours beside vLLM, the fastest that was measured, over a field; the rest is as usual."""
    usual = Cell("ours", PROMPTS, SHOTS, TOP_P, 0)
    rows = []
    for cell in sorted(figures):
        variants = [c for c in figures if c.engine.startswith("vllm") and c[1:] == cell[1:]]
        other = max(variants, key=lambda c: figures[c].speed, default=cell._replace(engine="vllm"))
        there = {**cell._asdict(), field: getattr(usual, field), "new_tokens": 0}
        if there == usual._asdict():
            found = [figures.get(each) for each in (cell, other)]
            rows.append(
                (
                    f"{getattr(cell, field):,}",
                    *(f"{each.speed:,.0f}" if each else "" for each in found),
                    format_ratio(figures, other),
                    *(f"{each.memory_mb:,.0f}" if each else "" for each in found),
                )
            )
    return format_table(
        (field, "ours, tokens/s", "vLLM, tokens/s", "ours is", "ours, peak MB", "vLLM, peak MB"),
        rows,
    )


def print_tables(figures: Mapping[Cell, Figures]) -> None:
    """Print the tables as docs/speed.md has them."""
    for name, table in (
        ("generation", tabulate_engines(figures)),
        ("prompts", tabulate_sweep(figures, "prompts")),
        ("shots", tabulate_sweep(figures, "shots")),
    ):
        print(f"\n<!-- table: {name} -->\n{table}", end="")
    if figures:
        spread = max(found.spread for found in figures.values())
        counts = {found.runs for found in figures.values()}
        print(f"\nruns a cell: {min(counts)} to {max(counts)}; they differ by {spread:.0%} at most")


def parse_list(kind: type) -> Any:
    """Make a parser of values with commas between them."""
    return lambda text: [kind(value) for value in text.split(",")]


def parse_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="JSON file with the results, added to")
    parser.add_argument("--only", type=parse_list(str), default=list(USUAL), help=", ".join(LABELS))
    parser.add_argument("--prompts", type=parse_list(int), help="numbers of them, as 32,128")
    parser.add_argument("--shots", type=parse_list(int))
    parser.add_argument("--top-p", type=parse_list(float))
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--model", type=Path, default=MODEL, help="a model folder")
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), default="bfloat16")
    parser.add_argument("--vllm-python", type=Path, default=VLLM_PYTHON, help="has vLLM installed")
    parser.add_argument("--dry-run", action="store_true", help="list what would be run")
    options = parser.parse_args()
    if unknown := set(options.only) - set(LABELS):
        parser.error(
            f"--only: no engine {', '.join(sorted(unknown))}; there are {', '.join(LABELS)}"
        )
    if not options.out and not options.dry_run:
        parser.error("--out is needed, or --dry-run")
    return options


def plan(options: argparse.Namespace) -> list[Cell]:
    """List the cells that the command line asks for."""
    engines = [name for name in LABELS if name in options.only]
    if not options.vllm_python.is_file() and any(name.startswith("vllm") for name in engines):
        print(f"vLLM is skipped: there is no {options.vllm_python} (`make .venv-vllm/installed`)")
        engines = [name for name in engines if not name.startswith("vllm")]
    if not (options.prompts or options.shots or options.top_p):
        return plan_default(engines, options.new_tokens)
    prompts, shots = options.prompts or [PROMPTS], options.shots or [SHOTS]
    return plan_product(engines, prompts, shots, options.top_p or [TOP_P], options.new_tokens)


def main() -> None:
    """Run what is missing, and print the tables."""
    options = parse_options()
    model = options.model.resolve()
    subject = Subject(read_commit(PROJECT), model.name, options.dtype)
    runs: list[dict[str, Any]] = []
    if options.out and options.out.is_file():
        runs = json.loads(options.out.read_text(encoding="utf-8"))["runs"]
    cells = plan(options)
    missing = list_missing(cells, options.repeats, subject, runs)
    left = sum(estimate_minutes(cell) for cell, _ in missing)
    print(f"{len(missing)} runs of {len(cells)} cells, about {left:.0f} minutes", flush=True)
    failed = 0
    if options.dry_run:
        for cell, count in Counter(cell for cell, _ in missing).items():
            minutes = count * estimate_minutes(cell)
            print(f"  {describe_cell(cell)}: {count} runs, about {minutes:.1f} minutes")
        return
    for cell, repeat in missing:
        load = os.getloadavg()[0]
        python = options.vllm_python if cell.engine.startswith("vllm") else Path(sys.executable)
        found = run_child(cell, model, options.dtype, python)
        if found is None:
            failed += 1
            continue
        run = {**subject._asdict(), "repeat": repeat, **cell._asdict()}
        runs.append({**run, "load_before": load, **found})
        save(options.out, runs)
        speed = found["tokens"] / found["seconds"]
        print(f"  {describe_cell(cell)}, run {repeat + 1}: {speed:.0f} tokens/s", flush=True)
    print_tables(summarise(runs, subject))
    if failed:
        sys.exit(f"{failed} runs failed")


def save(out: Path, runs: Sequence[Mapping[str, Any]]) -> None:
    """Write what there is so far, or nothing."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with write_whole(out) as file:
        file.write(json.dumps({"machine": describe_machine(), "runs": runs}, indent=1).encode())


if __name__ == "__main__":
    main()
