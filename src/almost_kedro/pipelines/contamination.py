"""Nodes that compare what was generated with the benchmarks; several pipelines have them."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kedro.pipeline import Node

from almost_kedro.errors import UserError
from almost_kedro.evaluation.benchmarks import ChoiceItem, OpenItem, PairItem
from almost_kedro.evaluation_rows import ContaminationRow
from almost_kedro.feedback.decontamination import find_overlaps, list_benchmark_texts
from almost_kedro.feedback.responses import read_demonstrations
from almost_kedro.feedback.self_play import make_demonstrations
from almost_kedro.programs import PLAIN
from almost_kedro.rows import Prompt, row_id
from almost_kedro.training_rows import Candidate

from .benchmarks import read_benchmarks

logger = logging.getLogger(__name__)
# Between a file's name and a demonstration's number; no other id has it.
SLASH = "/"
ITEMS = {
    "hhh_items": "hhh_items",
    "mc1_items": "mc1_items",
    "open_questions": "open_questions",
}


def make_prompt_checks() -> list[Node]:
    """Return the nodes that read the benchmarks, and look for their items in the prompts.

    Two pipelines have them, so that prompts are checked before they are split, and checked again
    where models are evaluated by other benchmarks. A sum of pipelines keeps one of equal nodes.
    """
    return [
        Node(
            func=read_benchmarks,
            inputs={"evaluation": "params:evaluation", "benchmark_assets": "benchmark_assets"},
            outputs=["hhh_items", "mc1_items", "open_questions", "benchmark_sources"],
            name="read_benchmarks",
        ),
        Node(
            func=check_contamination,
            inputs={"prompts": "prompts", "demonstrations": "demonstrations", **ITEMS},
            outputs=["contamination", "contamination_metrics"],
            name="check_contamination",
        ),
    ]


def make_self_play_check() -> Node:
    """Return the node that looks for benchmark items in self-play; two pipelines have it, too."""
    return Node(
        func=check_self_play,
        inputs={"self_play_candidates": "self_play", **ITEMS},
        outputs=["sft_contamination", "sft_contamination_metrics"],
        name="check_self_play",
    )


def check_contamination(
    prompts: list[Prompt],
    demonstrations: Mapping[str, Callable[[], str]],
    hhh_items: list[PairItem],
    mc1_items: list[ChoiceItem],
    open_questions: list[OpenItem],
) -> tuple[list[ContaminationRow], dict[str, Any]]:
    """List generated prompts and hand-written demonstrations that repeat a benchmark item.

    Returns:
        A row for each overlap, and counts.
    """
    shown = list_shown(demonstrations)
    texts = {**{prompt["prompt_id"]: prompt["text"] for prompt in prompts}, **shown}
    items = list_benchmark_texts([*hhh_items, *mc1_items, *open_questions])
    rows = list_overlaps(texts, items)
    repeated = {row["text_id"] for row in rows}
    counts = {
        "n_prompts": len(prompts),
        "n_demonstrations": len(shown),
        "n_items": len(items),
        "prompts_that_repeat": len(repeated - shown.keys()),
        "demonstrations_that_repeat": len(repeated & shown.keys()),
        **_count_kinds(rows),
    }
    if repeated:
        logger.warning(
            "contamination: %d prompts and %d demonstrations repeat a benchmark item: "
            "kedro rows contamination",
            counts["prompts_that_repeat"],
            counts["demonstrations_that_repeat"],
            extra=PLAIN,
        )
    return rows, counts


def check_self_play(
    self_play_candidates: list[Candidate],
    hhh_items: list[PairItem],
    mc1_items: list[ChoiceItem],
    open_questions: list[OpenItem],
) -> tuple[list[ContaminationRow], dict[str, Any]]:
    """List the kept answers of self-play whose dialogues repeat a benchmark item, in any turn.

    Returns:
        A row for each overlap, by candidate_id, and counts.
    """
    # In either rule set's form: turns are compared without the space at the end.
    texts = {
        row["candidate_id"]: f"{row['dialogue']} {row['answer']}"
        for row in make_demonstrations(self_play_candidates, "corrected")
    }
    items = list_benchmark_texts([*hhh_items, *mc1_items, *open_questions])
    rows = list_overlaps(texts, items)
    repeated = len({row["text_id"] for row in rows})
    if repeated:
        logger.warning(
            "contamination: %d of %d dialogues of self-play repeat a benchmark item: "
            "kedro rows sft_contamination",
            repeated,
            len(texts),
            extra=PLAIN,
        )
    return rows, {"n": len(texts), "that_repeat": repeated, **_count_kinds(rows)}


def list_shown(demonstrations: Mapping[str, Callable[[], str]]) -> dict[str, str]:
    """Return the hand-written demonstrations by NAME/NUMBER, of the files NAME_prompt.txt."""
    return {
        f"{name}{SLASH}{number}": text
        for name, load in sorted(demonstrations.items())
        for number, text in enumerate(read_demonstrations(load(), name)[1], 1)
    }


def list_overlaps(texts: Mapping[str, str], items: Mapping[str, str]) -> list[ContaminationRow]:
    """List the texts that repeat an item, as rows with ids."""
    return [
        ContaminationRow(
            overlap_id=row_id("overlap", found["text_id"], found["item_id"], found["kind"]), **found
        )
        for found in find_overlaps(texts, items)
    ]


def refuse_shown(rows: Sequence[ContaminationRow]) -> None:
    """Refuse hand-written demonstrations that repeat a benchmark item.

    They are not dropped: three shots would no longer be three.

    Raises:
        UserError: The first one.
    """
    for row in rows:
        name, slash, number = row["text_id"].partition(SLASH)
        if slash:
            raise UserError(
                f"{name}_prompt.txt, demonstration {number}: repeats the benchmark item "
                f"{row['item_id']} ({row['matched']!r:.80}); write another one there, or set "
                "evaluation.drop_contaminated: false"
            )


def _count_kinds(rows: Sequence[ContaminationRow]) -> dict[str, Any]:
    return {
        "items_repeated": len({row["item_id"] for row in rows}),
        "by_kind": dict(Counter(row["kind"] for row in rows)),
    }
