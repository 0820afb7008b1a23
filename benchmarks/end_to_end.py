"""Where the time of `make run` goes: seconds and share of each stage, node and program.

Run: `python benchmarks/end_to_end.py --data-root build/end_to_end [--out build/end_to_end.json]`

Runs `kedro run` (after `--`, its own options: `-- --env smoke --params seed=1`) in a data root that
must not exist yet, so that nothing comes from a cache. The model has to be there.

A node's time is from the log line that says it runs to the one that says it is completed, as they
arrive here: loading its data, its programs and saving included. A stage is a pipeline; a node of
several counts for the first. What is left is stated: the start until the first node, the time
between nodes, and the end. A program's time is that of its run in the data root's MLflow store, its
start-up included; what it says of itself, loading and generating or training, is beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from almost_kedro.hooks.run_facts import read_commit
from almost_kedro.rows.json_lines import write_whole

PROJECT = Path(__file__).parents[1]
STORE = "08_reporting/mlflow/mlflow.db"
RUNS, COMPLETED = re.compile(r"Running node: ([\w.]+): "), re.compile(r"Completed node: ([\w.]+)")
# In the order in which they run; what is only in others comes after.
STAGES = ("synthetic_feedback", "reward_model", "rmsp_sft", "rl", "evaluation")
START, BETWEEN, END = "start until the first node", "between nodes", "after the last node"
PROGRAMS = """
    SELECT run_uuid, name, (end_time - start_time) / 1000.0 FROM runs
    JOIN tags USING (run_uuid) WHERE key = 'mlflow.parentRunId' AND end_time IS NOT NULL
    ORDER BY start_time
"""


class Event(NamedTuple):
    """A node begins or ends, so many seconds after the start."""

    seconds: float
    node: str
    begins: bool


def read_event(line: str, seconds: float) -> Event | None:
    """Read a log line; None if it is about no node."""
    if match := RUNS.search(line):
        return Event(seconds, match[1], True)
    if match := COMPLETED.search(line):
        return Event(seconds, match[1], False)
    return None


def time_nodes(events: Iterable[Event], wall: float) -> tuple[dict[str, float], dict[str, float]]:
    """Split a run's wall time; nodes run one after the other.

    Returns:
        Seconds of each node in their order, and of what is no node. Together they are `wall`.
    """
    nodes: dict[str, float] = {}
    other = {START: 0.0, BETWEEN: 0.0, END: 0.0}
    last, running = 0.0, None
    for event in events:
        if event.begins:
            other[BETWEEN if nodes else START] += event.seconds - last
            running = event.node
        elif event.node == running:
            nodes[event.node] = nodes.get(event.node, 0.0) + event.seconds - last
            running = None
        else:
            raise ValueError(f"node {event.node} is completed while {running} runs")
        last = event.seconds
    other[END] = wall - last
    return nodes, other


def sum_stages(nodes: Mapping[str, float], stages: Mapping[str, str]) -> dict[str, float]:
    """Add up the nodes of each stage."""
    sums: dict[str, float] = {}
    for node, seconds in nodes.items():
        stage = stages.get(node, "no pipeline")
        sums[stage] = sums.get(stage, 0.0) + seconds
    return sums


def read_programs(store: Path) -> list[dict[str, Any]]:
    """Read what the programs of a run took, from its MLflow store."""
    connection = sqlite3.connect(f"file:{store}?mode=ro", uri=True)
    try:
        found = []
        for run_id, name, seconds in connection.execute(PROGRAMS):
            values = connection.execute(
                "SELECT key, value FROM latest_metrics WHERE run_uuid = ?", (run_id,)
            )
            metrics = {key: value for key, value in values if "." not in key}
            found.append({"name": name, "seconds": seconds, "metrics": metrics})
        return found
    finally:
        connection.close()


def find_stages() -> dict[str, str]:
    """Say to which pipeline each node belongs."""
    from kedro.framework.project import pipelines
    from kedro.framework.startup import bootstrap_project

    bootstrap_project(PROJECT)
    stages: dict[str, str] = {}
    for name in (*STAGES, *pipelines):
        for node in pipelines[name].nodes:
            stages.setdefault(node.name, name)
    return stages


def run_kedro(data_root: Path, options: Sequence[str]) -> tuple[list[Event], float]:
    """Run Kedro, show what it prints, and note when nodes begin and end.

    Raises:
        SystemExit: If it fails.
    """
    command = build_command(data_root, options)
    env = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": str(PROJECT / "src")}
    events = []
    start = time.perf_counter()
    with subprocess.Popen(
        command,
        cwd=PROJECT,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        assert process.stdout
        for line in process.stdout:
            event = read_event(line, time.perf_counter() - start)
            if event:
                events.append(event)
            print(line, end="", flush=True)
    if process.returncode:
        raise SystemExit(f"kedro run ended with status {process.returncode}")
    return events, time.perf_counter() - start


def build_command(data_root: Path, options: Sequence[str]) -> list[str]:
    """Put the data root among the options of `kedro run`."""
    params = f"data_root={data_root}"
    options = list(options)
    if "--params" in options:
        place = options.index("--params") + 1
        params = f"{params},{options[place]}"
        del options[place - 1 : place + 1]
    return [sys.executable, "-m", "kedro", "run", *options, "--params", params]


def format_shares(head: str, seconds: Mapping[str, float], wall: float) -> str:
    """Write a Markdown table of seconds and shares."""
    lines = [f"| {head} | seconds | share |", "| --- | --- | --- |"]
    lines += [f"| {name} | {each:,.1f} | {each / wall:.1%} |" for name, each in seconds.items()]
    return "\n".join(lines) + "\n"


def format_programs(programs: Sequence[Mapping[str, Any]], wall: float) -> str:
    """Write a Markdown table of programs, with what they say of themselves."""
    lines = [
        "| program | seconds | share | of them loading | tokens | peak MB |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for program in programs:
        own, seconds = program["metrics"], program["seconds"]
        tokens = own.get("tokens_generated", own.get("tokens"))
        cells = (
            program["name"],
            f"{seconds:,.1f}",
            f"{seconds / wall:.1%}",
            f"{own['load_seconds']:,.1f}" if "load_seconds" in own else "",
            f"{tokens:,.0f}" if tokens is not None else "",
            f"{own['peak_memory_mb']:,.0f}" if "peak_memory_mb" in own else "",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run and print three tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-root", type=Path, required=True, help="made by the run")
    parser.add_argument("--out", type=Path, help="JSON file with the results")
    parser.add_argument("kedro", nargs="*", help="options of `kedro run`, after --")
    options = parser.parse_args()
    data_root = options.data_root.resolve()
    if data_root.exists():
        parser.error(f"--data-root: {data_root} exists; what it has would not be made again")
    commit, stages = read_commit(PROJECT), find_stages()
    events, wall = run_kedro(data_root, options.kedro)
    nodes, other = time_nodes(events, wall)
    programs = read_programs(data_root / STORE)
    found = {"stages": sum_stages(nodes, stages) | other, "nodes": nodes, "programs": programs}
    slowest = dict(sorted(nodes.items(), key=lambda item: -item[1]))
    print(f"\n<!-- table: end_to_end -->\n{format_shares('stage', found['stages'], wall)}")
    print(format_shares("node", slowest, wall))
    print(format_programs(programs, wall))
    in_programs = sum(program["seconds"] for program in programs)
    print(f"all: {wall:,.1f} seconds; in programs: {in_programs:,.1f} ({in_programs / wall:.1%})")
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        with write_whole(options.out) as file:
            document = {"commit": commit, "options": options.kedro, "wall": wall, **found}
            file.write(json.dumps(document, indent=1).encode())


if __name__ == "__main__":
    main()
