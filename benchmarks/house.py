"""How the code is built, as figures: rooms, who imports whom, lengths, and what nodes take.

    .venv/bin/python benchmarks/house.py                     # this checkout
    .venv/bin/python benchmarks/house.py --at COMMIT         # another commit, in a copy of its own
    .venv/bin/python benchmarks/house.py --nodes             # every node: inputs, outputs, tags

A room is what lies at the top of `src/almost_kedro`: a package, or a module that is none. An arrow
leads from a room to one that it imports from. Arrows that lie on a circle of rooms are those that
cannot all lead down.
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[1]
PACKAGE = "almost_kedro"
# Late imports are counted, too.
LIST_ARROWS = """
import json, grimp
graph = grimp.build_graph("almost_kedro", cache_dir=None)
rooms = sorted(graph.find_children("almost_kedro"))
arrows = {
    (room, found.split(".")[1])
    for room in rooms
    for module in {room, *graph.find_descendants(room)}
    for found in graph.find_modules_directly_imported_by(module)
    if "." in found
}
print(json.dumps(sorted((a.split(".")[1], b) for a, b in arrows if a.split(".")[1] != b)))
"""
LIST_NODES = """
import json, pathlib, sys
from kedro.framework.project import pipelines
from kedro.framework.startup import bootstrap_project
bootstrap_project(pathlib.Path(sys.argv[1]))
print(json.dumps([
    {"pipeline": name, "node": node.name, "inputs": sorted(node.inputs), "outputs": node.outputs,
     "tags": sorted(node.tags)}
    for name in sorted(pipelines) for node in pipelines[name].nodes
]))
"""


def ask(project: Path, script: str) -> Any:
    """Run a script on the code of a checkout; return what its last line has as JSON."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, str(project)],
        cwd=project,
        env={"PYTHONPATH": str(project / "src")},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def find_circles(arrows: list[list[str]]) -> int:
    """Count the arrows that lie on a circle: those whose ends lead to each other."""
    lead: dict[str, set[str]] = {a: set() for pair in arrows for a in pair}
    for a, b in arrows:
        lead[a].add(b)
    for middle in lead:
        for room in lead:
            if middle in lead[room]:
                lead[room] |= lead[middle]
    return sum(a in lead[b] for a, b in arrows)


def measure(project: Path) -> dict[str, object]:
    """Return the figures of a checkout."""
    source = project / "src" / PACKAGE
    arrows = ask(project, LIST_ARROWS)
    rooms = {room for arrow in arrows for room in arrow}
    lengths = {
        str(file.relative_to(source)): len(file.read_text(encoding="utf-8").splitlines())
        for file in source.rglob("*.py")
    }
    longest = max(lengths, key=lambda name: lengths[name])
    inputs = {str(node["node"]): len(node["inputs"]) for node in ask(project, LIST_NODES)}
    return {
        "rooms": len(rooms),
        "arrows between rooms": len(arrows),
        "arrows on a circle": find_circles(arrows),
        "lines of Python": sum(lengths.values()),
        "longest file": f"{longest}, {lengths[longest]}",
        "median file": statistics.median(lengths.values()),
        "inputs of a node at most": ", ".join(
            f"{name} {n}" for name, n in sorted(inputs.items(), key=lambda item: -item[1])[:4]
        ),
    }


def check_out(commit: str, folder: Path) -> None:
    """Copy a commit's files."""
    packed = subprocess.run(
        ["git", "-C", str(PROJECT), "archive", commit], capture_output=True, check=True
    )
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as files:
        files.extractall(folder, filter="data")


def main() -> None:
    """Print the figures, or the nodes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--at", help="a commit")
    parser.add_argument("--nodes", action="store_true", help="list the nodes instead")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        project = PROJECT
        if options.at:
            project = Path(folder)
            check_out(options.at, project)
        if options.nodes:
            for node in ask(project, LIST_NODES):
                print(json.dumps(node))
            return
        for name, value in measure(project).items():
            print(f"{name:26} {value}")


if __name__ == "__main__":
    main()
