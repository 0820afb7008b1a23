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
import ast
import io
import json
import statistics
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

PROJECT = Path(__file__).parents[1]
PACKAGE = "almost_kedro"
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


def list_imports(file: Path, module: str) -> Iterator[str]:
    """Yield the modules of ours that a file imports from, late imports included."""
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parent = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parent, *filter(None, [node.module])])
            # `from almost_kedro import x` may name a room.
            yield from (f"{base}.{alias.name}" for alias in node.names)


def list_arrows(source: Path) -> set[tuple[str, str]]:
    """Return which room imports from which."""
    arrows = set()
    for file in source.rglob("*.py"):
        parts = [PACKAGE, *file.relative_to(source).with_suffix("").parts]
        module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if module == PACKAGE:
            continue
        for name in list_imports(file, module):
            found = name.split(".")
            if found[0] == PACKAGE and len(found) > 1:
                arrows.add((module.split(".")[1], found[1]))
    rooms = {path.stem for path in source.iterdir()}
    return {(a, b) for a, b in arrows if a != b and b in rooms}


def reach(arrows: set[tuple[str, str]], start: str) -> set[str]:
    """Return the rooms that a room imports from, directly or through others."""
    found: set[str] = set()
    todo = [start]
    while todo:
        room = todo.pop()
        following = {b for a, b in arrows if a == room} - found
        found |= following
        todo += following
    return found


def list_nodes(project: Path) -> list[dict[str, object]]:
    """Return every node of every pipeline, as that checkout has them."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LIST_NODES, str(project)],
        cwd=project,
        env={"PYTHONPATH": str(project / "src")},
        capture_output=True,
        text=True,
        check=True,
    )
    nodes: list[dict[str, object]] = json.loads(done.stdout.splitlines()[-1])
    return nodes


def measure(project: Path) -> dict[str, object]:
    """Return the figures of a checkout."""
    source = project / "src" / PACKAGE
    arrows = list_arrows(source)
    rooms = {room for arrow in arrows for room in arrow}
    lengths = {
        str(file.relative_to(source)): len(file.read_text(encoding="utf-8").splitlines())
        for file in source.rglob("*.py")
    }
    longest = max(lengths, key=lambda name: lengths[name])
    inputs = {str(node["node"]): len(node["inputs"]) for node in list_nodes(project)}  # type: ignore[arg-type]
    reached = {room: reach(arrows, room) for room in rooms}
    return {
        "rooms": len(rooms),
        "arrows between rooms": len(arrows),
        "arrows on a circle": sum(a in reached[b] for a, b in arrows),
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
            for node in list_nodes(project):
                print(json.dumps(node))
            return
        for name, value in measure(project).items():
            print(f"{name:26} {value}")


if __name__ == "__main__":
    main()
