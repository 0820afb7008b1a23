"""The node that reads the benchmarks; several pipelines have it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

from almost_kedro.datasets.hub_rows import load_hub_rows
from almost_kedro.errors import UserError
from almost_kedro.evaluation.benchmark_files import read_open, read_text
from almost_kedro.evaluation.benchmark_records import (
    OPEN_QUESTIONS,
    QUESTIONS,
    SETS,
    HubSet,
)
from almost_kedro.evaluation.benchmarks import describe_source
from almost_kedro.evaluation.preference_files import read_preferences
from almost_kedro.evaluation.truthfulqa import PRESET, Preset
from almost_kedro.options.evaluation import EvaluationOptions
from almost_kedro.rows.evaluation import Source
from almost_kedro.rows.preferences import PreferenceItem

Item = TypeVar("Item")
Items = Sequence[Any]
REMEDY = "check the network, or give a file's path, or own"


def read_benchmarks(evaluation_options: EvaluationOptions, benchmark_assets: Path) -> list[Any]:
    """Read all benchmarks from our own sets, files or the hub.

    Nothing comes before this node, so that a bad file stops a run before anything is generated.
    Returns the items of each benchmark, the open questions, the items of all preference sets, and
    where each is from.

    Raises UserError for a missing file or dataset, or the first bad item.
    """
    items: list[Items] = []
    sources: dict[str, Source] = {}
    for benchmark in SETS:
        name, given = benchmark.option, getattr(evaluation_options, benchmark.option)
        if given == "hub":
            found = _load_hub(f"evaluation.{name}", benchmark.hub)
            source = describe_source(name, "hub", benchmark.hub.dataset, found, None)
        else:
            own = benchmark_assets / benchmark.own
            found, source = _read(name, given, own, benchmark.read)
        items.append(spread(found, evaluation_options.limit))
        sources[name] = source
    own = benchmark_assets / f"{OPEN_QUESTIONS}.jsonl"
    questions, sources[QUESTIONS] = _read(QUESTIONS, evaluation_options.questions, own, read_open)
    items.append(spread(questions, evaluation_options.question_limit))
    preferences: list[PreferenceItem] = []
    for name, path in evaluation_options.preferences.items():
        found, sources[name_source(name)] = _read(name, path, own, partial(read_preferences, name))
        preferences += spread(found, evaluation_options.limit)
    return [*items, preferences, sources]


def name_source(preference_set: str) -> str:
    """Return the key of a preference set of the user's in `benchmark_sources`."""
    return f"preferences.{preference_set}"


def _read(name: str, given: str, own: Path, read: Callable[[Path], Items]) -> tuple[Items, Source]:
    kind: Literal["own", "file"] = "own" if given == "own" else "file"
    path = own if kind == "own" else Path(given)
    items = read(path)
    location = f"{own.parent.name}/{own.name}" if kind == "own" else given
    return items, describe_source(name, kind, location, items, path.read_bytes())


def _load_hub(option: str, hub: HubSet) -> Items:
    rows = {
        name: load_hub_rows(option, hub.dataset, hub.split, REMEDY, name)
        for name in hub.configurations
    }
    return hub.make_items(rows, hub.dataset)


def spread(items: Sequence[Item], limit: int | None) -> list[Item]:
    """Return `limit` items, spread evenly because files are sorted by category; None: all."""
    n = min(limit or len(items), len(items))
    return [items[i * len(items) // n] for i in range(n)]


def read_mc1_preset(evaluation_options: EvaluationOptions) -> Preset:
    """Read the text before likelihood questions of MC1; raise UserError if missing or empty."""
    given = evaluation_options.mc1_preset
    match given:
        case "own":
            text = PRESET
        case "none":
            text = ""
        case _:
            text = read_text(Path(given))
            if not text.strip():
                raise UserError(f"{given}: the file is empty; to show no pairs, give none")
    return Preset(location=given, sha256=hashlib.sha256(text.encode()).hexdigest(), text=text)
