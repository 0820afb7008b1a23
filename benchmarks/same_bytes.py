"""Does this checkout make the same bytes as another commit? One smoke run of each is compared.

    .venv/bin/python benchmarks/same_bytes.py COMMIT              # runs both: minutes
    .venv/bin/python benchmarks/same_bytes.py COMMIT --keep DIR   # and keeps the data roots

Every dataset of both data roots is compared: rows, texts and models byte by byte, documents without
what each run measures anew (seconds, memory, throughput), its commit, versions and folder, pages
and cards by their names alone. Then this checkout runs on the older data root: it must compute
nothing anew, as caches and work folders are taken.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from house import PROJECT, check_out

# What each run measures anew or is called by.
OWN = re.compile(
    r"seconds|memory|per_second|throughput|step_time|commit|session_id|version|parents|"
    r"data_root|folder|options$"
)
PAGES = (".html", ".md")


def run_smoke(project: Path, root: Path) -> str:
    """Run the whole chain of a checkout; returns its log."""
    command = [sys.executable, "-m", "kedro", "run", "--env", "smoke"]
    done = subprocess.run(
        [*command, "--params", f"data_root={root}"],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(project / "src"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    log = done.stdout + done.stderr
    if done.returncode:
        raise SystemExit(f"{project}: the run failed\n{log[-3000:]}")
    return log


def list_files(root: Path) -> dict[str, Path]:
    """Return the newest version of every file that the catalog keeps, by dataset."""
    found = {}
    for path in sorted(root.glob("0*/**/*")):
        parts = path.relative_to(root).parts
        # 03_primary/prompts.jsonl/VERSION/prompts.jsonl
        if path.is_file() and len(parts) > 3 and parts[1] == parts[3]:
            found["/".join((parts[0], parts[1], *parts[4:]))] = path
    return found


def drop_own(value: Any) -> Any:
    """Drop what a run measures anew or is called by, wherever it stands in a document."""
    if isinstance(value, dict):
        return {k: drop_own(v) for k, v in value.items() if not OWN.search(str(k))}
    if isinstance(value, list):
        return [drop_own(item) for item in value if not is_own(item)]
    return value


def is_own(item: Any) -> bool:
    """Tell whether an item of a list is a line of a chart that each run measures anew."""
    return isinstance(item, dict) and bool(OWN.search(str(item.get("name", ""))))


def are_same(a: Path, b: Path) -> bool:
    """Compare two files of one dataset."""
    if a.suffix in PAGES:
        return True
    if a.suffix == ".json":
        return bool(
            drop_own(json.loads(a.read_text("utf-8"))) == drop_own(json.loads(b.read_text("utf-8")))
        )
    return a.read_bytes() == b.read_bytes()


def main() -> None:
    """Run, compare, and say what differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("commit")
    parser.add_argument("--keep", type=Path, help="folder for both data roots")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = (options.keep or Path(folder)).absolute()
        older = Path(folder) / "project"
        older.mkdir()
        check_out(options.commit, older)
        (older / "conf/local").mkdir(exist_ok=True)
        run_smoke(older, place / "before")
        run_smoke(PROJECT, place / "after")
        before, after = list_files(place / "before"), list_files(place / "after")
        alone = sorted(before.keys() ^ after.keys())
        differ = [
            name for name in before if name in after and not are_same(before[name], after[name])
        ]
        log = run_smoke(PROJECT, place / "before")
        anew = [line for line in log.splitlines() if re.search(r"tokens/s|of \d+, ", line)]
    print(f"{len(before)} files before, {len(after)} after")
    print(f"only in one: {', '.join(alone) or 'none'}")
    print(f"not the same: {', '.join(differ) or 'none'}")
    print(f"computed anew on the older data root: {anew or 'nothing'}")
    sys.exit(bool(alone or differ or anew))


if __name__ == "__main__":
    main()
