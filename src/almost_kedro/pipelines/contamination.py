"""Nodes that compare generated text with the benchmarks; several pipelines have them."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from kedro.pipeline import Node

from almost_kedro.contract import row_id
from almost_kedro.errors import UserError
from almost_kedro.evaluation.benchmark_records import ITEMS
from almost_kedro.evaluation.benchmark_sources import read_benchmarks
from almost_kedro.feedback.decontamination import find_overlaps, list_benchmark_texts
from almost_kedro.feedback.planning import Demonstrations
from almost_kedro.feedback.responses import read_demonstrations
from almost_kedro.feedback.self_play import make_demonstrations
from almost_kedro.pipelines.wiring import make_node
from almost_kedro.processes.run import PLAIN
from almost_kedro.rows.evaluation import ContaminationRow
from almost_kedro.rows.evaluation_metrics import ContaminationMetrics, Repeated
from almost_kedro.rows.feedback import Prompt
from almost_kedro.rows.training import Candidate

logger = logging.getLogger(__name__)
# Stands between a file's name and a demonstration's number; no other id has it.
SLASH = "/"


def make_prompt_checks() -> list[Node]:
    """Return the nodes that read the benchmarks and look for their items in the prompts.

    Two pipelines have them: prompts are checked before they are split, and again where other
    benchmarks may evaluate the models. A sum of pipelines keeps one of equal nodes.
    """
    return [
        make_node(read_benchmarks, [*ITEMS, "benchmark_sources"]),
        make_node(check_contamination, ["contamination", "contamination_metrics"], ITEMS),
    ]


def make_self_play_check() -> Node:
    """Return the node that looks for benchmark items in self-play; two pipelines have it."""
    return make_node(check_self_play, ["sft_contamination", "sft_contamination_metrics"], ITEMS)


def check_contamination(
    prompts: list[Prompt],
    demonstrations: Demonstrations,
    **items: list[Any],
) -> tuple[list[ContaminationRow], ContaminationMetrics]:
    """List prompts and hand-written demonstrations that repeat a benchmark item, and count them."""
    shown = list_demonstrations(demonstrations)
    texts = {**{prompt["prompt_id"]: prompt["text"] for prompt in prompts}, **shown}
    benchmark_texts = list_benchmark_texts(list(chain(*items.values())))
    rows = list_overlaps(texts, benchmark_texts)
    repeated = {row["text_id"] for row in rows}
    counts = ContaminationMetrics(
        n_prompts=len(prompts),
        n_demonstrations=len(shown),
        n_items=len(benchmark_texts),
        prompts_that_repeat=len(repeated - shown.keys()),
        demonstrations_that_repeat=len(repeated & shown.keys()),
        **_count_kinds(rows),
    )
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
    self_play: list[Candidate],
    **items: list[Any],
) -> tuple[list[ContaminationRow], dict[str, Any]]:
    """List kept self-play answers whose dialogue repeats a benchmark item in any turn.

    Returns a row for each overlap, by candidate_id, and counts.
    """
    # Either rule set's form will do: turns are compared without the space at the end.
    texts = {
        row["candidate_id"]: f"{row['dialogue']} {row['answer']}"
        for row in make_demonstrations(self_play, "corrected")
    }
    benchmark_texts = list_benchmark_texts(list(chain(*items.values())))
    rows = list_overlaps(texts, benchmark_texts)
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


def list_demonstrations(demonstrations: Demonstrations) -> dict[str, str]:
    """Return the hand-written demonstrations of the files NAME_prompt.txt, by NAME/NUMBER."""
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


def refuse_contaminated_demonstrations(rows: Sequence[ContaminationRow]) -> None:
    """Raise UserError for the first hand-written demonstration that repeats a benchmark item.

    It is not dropped: three shots would no longer be three.
    """
    for row in rows:
        name, slash, number = row["text_id"].partition(SLASH)
        if slash:
            raise UserError(
                f"{name}_prompt.txt, demonstration {number}: repeats the benchmark item "
                f"{row['item_id']} ({row['matched']!r:.80}); write another one there, or set "
                "evaluation.drop_contaminated: false"
            )


def _count_kinds(rows: Sequence[ContaminationRow]) -> Repeated:
    return {
        "items_repeated": len({row["item_id"] for row in rows}),
        "by_kind": dict(Counter(row["kind"] for row in rows)),
    }
