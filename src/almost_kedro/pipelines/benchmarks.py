"""The node that reads the benchmarks; several pipelines have it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, TypeVar

from almost_kedro.errors import UserError
from almost_kedro.evaluation.benchmark_files import (
    read_choices,
    read_open,
    read_pairs,
    read_text,
)
from almost_kedro.evaluation.benchmark_hub import choices_from_hub, pairs_from_hub
from almost_kedro.evaluation.benchmarks import (
    CATEGORIES,
    ChoiceItem,
    OpenItem,
    PairItem,
    Source,
    describe_source,
)
from almost_kedro.evaluation.truthfulqa import PRESET, Preset
from almost_kedro.evaluation_options import EvaluationOptions
from almost_kedro.hub_rows import load_hub_rows

Item = TypeVar("Item", PairItem, ChoiceItem, OpenItem)
HHH_DATASET = "HuggingFaceH4/hhh_alignment"
MC1_DATASET = "truthfulqa/truthful_qa"
REMEDY = "check the network, or give a file's path, or own"


def read_benchmarks(
    evaluation: EvaluationOptions, benchmark_assets: Path
) -> tuple[list[PairItem], list[ChoiceItem], list[OpenItem], dict[str, Source]]:
    """Read the three benchmarks from our own sets, files or the hub.

    Nothing comes before this node, so that a bad file stops a run before anything is generated.

    Returns:
        Pairs of static HHH, questions of MC1, open questions, and where each is from.

    Raises:
        UserError: No such file or dataset, or the first bad item.
    """
    if evaluation.hhh == "hub":
        pairs, hhh = _describe_hub("hhh", HHH_DATASET, _load_pairs())
    else:
        pairs, hhh = _read("hhh", evaluation.hhh, benchmark_assets / "hhh.json", read_pairs)
    if evaluation.truthfulqa == "hub":
        choices, mc1 = _describe_hub("truthfulqa", MC1_DATASET, _load_choices())
    else:
        own = benchmark_assets / "truthfulqa_mc1.json"
        choices, mc1 = _read("truthfulqa", evaluation.truthfulqa, own, read_choices)
    own = benchmark_assets / "open_questions.jsonl"
    questions, source = _read("questions", evaluation.questions, own, read_open)
    return (
        spread(pairs, evaluation.limit),
        spread(choices, evaluation.limit),
        spread(questions, evaluation.question_limit),
        {"hhh": hhh, "truthfulqa": mc1, "questions": source},
    )


def _read(
    name: str, given: str, own: Path, read: Callable[[Path], list[Item]]
) -> tuple[list[Item], Source]:
    kind: Literal["own", "file"] = "own" if given == "own" else "file"
    path = own if kind == "own" else Path(given)
    items = read(path)
    location = f"{own.parent.name}/{own.name}" if kind == "own" else given
    return items, describe_source(name, kind, location, items, path.read_bytes())


def _describe_hub(name: str, dataset: str, items: list[Item]) -> tuple[list[Item], Source]:
    return items, describe_source(name, "hub", dataset, items, None)


def _load_pairs() -> list[PairItem]:
    subsets = {
        category: load_hub_rows("evaluation.hhh", HHH_DATASET, "test", REMEDY, category)
        for category in CATEGORIES
    }
    return pairs_from_hub(subsets, HHH_DATASET)


def _load_choices() -> list[ChoiceItem]:
    rows = load_hub_rows(
        "evaluation.truthfulqa", MC1_DATASET, "validation", REMEDY, "multiple_choice"
    )
    return choices_from_hub(rows, MC1_DATASET)


def spread(items: Sequence[Item], limit: int | None) -> list[Item]:
    """Return so many items, spread evenly: files are sorted by category."""
    n = min(limit or len(items), len(items))
    return [items[i * len(items) // n] for i in range(n)]


def read_mc1_preset(evaluation: EvaluationOptions) -> Preset:
    """Read what is shown before the questions of MC1 in the likelihood form.

    Raises:
        UserError: No such file, or an empty one.
    """
    given = evaluation.mc1_preset
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
