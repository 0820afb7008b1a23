"""The explorer's document: all pairs of answers, kept and dropped, with every text in it once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TypedDict

from almost_kedro.errors import UserError
from almost_kedro.evaluation.stages import TRAINED
from almost_kedro.feedback.comparisons import find_factors
from almost_kedro.feedback.ledger import KEPT
from almost_kedro.options.evaluation import HELD_OUT_SET
from almost_kedro.rows.feedback import (
    Assistant,
    Comparison,
    Factor,
    LedgerRow,
    Prompt,
    Response,
    Seed,
)
from almost_kedro.rows.preferences import PreferenceVerdict
from almost_kedro.rows.training import PromptSplit, ScoredComparison

# Characters of a text that the page holds. One text of a megabyte would be slower to show than all
# others are to search; `kedro trace ID --full` prints it whole.
LONGEST = 20_000

# Rule in force, what `original` and `corrected` say (all places in `names`), place in `details`.
Verdict = tuple[int, int, int, int]
# Id, text, characters, place of the split in `names` (None: a seed prompt), places of the shots in
# `prompts` (an id if it is in no dataset), and the verdict on a prompt without pairs.
PromptEntry = tuple[str, str, int, int | None, list[int | str], Verdict | None]
# Id, place in `prompts`, place in `assistants`, place of the verdict in `names`, characters,
# tokens, text.
AnswerEntry = tuple[str, int, int, int, int, int, str]
# Reward of the chosen and the rejected answer, then both by the held-out reward model.
Scores = tuple[float, float, float, float]
# Id, places of the chosen and the rejected answer in `answers`, verdict (None: both rule sets keep
# the pair), scores.
PairEntry = tuple[str, int, int, Verdict | None, Scores | None]


class Explorer(TypedDict):
    """What the page's scripts read; entries are lists, since their names would outweigh them.

    `edges` has the places of the chosen and the rejected assistant, and what they differ in.
    `implicit` has, by a pair's id, each policy's implicit rewards of the chosen and the rejected
    answer.
    """

    longest: int
    assistants: list[str]
    edges: list[tuple[int, int, list[Factor]]]
    names: list[str]
    details: list[str]
    prompts: list[PromptEntry]
    answers: list[AnswerEntry]
    pairs: list[PairEntry]
    implicit: dict[str, dict[str, tuple[float, float]]]


class Places:
    """Numbers distinct texts in the order in which they come."""

    def __init__(self) -> None:
        """Start with none."""
        self._places: dict[str, int] = {}

    def find(self, text: str) -> int:
        """Return a text's place; a new one gets the next."""
        return self._places.setdefault(text, len(self._places))

    @property
    def texts(self) -> list[str]:
        """All texts, by place."""
        return list(self._places)


def build_explorer(
    seeds: Sequence[Seed],
    prompts: Sequence[Prompt],
    prompt_splits: Sequence[PromptSplit],
    assistants: Sequence[Assistant],
    responses: Sequence[Response],
    comparisons: Sequence[Comparison],
    ledgers: Sequence[Sequence[LedgerRow]],
    held_out_scores: Sequence[ScoredComparison],
    preference_verdicts: Sequence[PreferenceVerdict],
) -> Explorer:
    """Put everything that the page shows into one document.

    An answer without a pair stands beside its prompt. Ledgers are in the order of the steps. Of the
    verdicts, those of policies on held-out pairs are shown.

    Raises:
        UserError: If a pair's prompt, answer or assistant is missing: the versions do not match.
    """
    names, details = Places(), Places()
    names.find(KEPT)
    rows = merge_ledgers(ledgers)
    verdicts: dict[str, Verdict] = {
        key: (
            names.find(row["rule"]),
            names.find(row["original"]),
            names.find(row["corrected"]),
            details.find(row["detail"]),
        )
        for key, row in rows.items()
    }
    prompt_places = {
        key: i
        for i, key in enumerate(
            [*(row["seed_id"] for row in seeds), *(row["prompt_id"] for row in prompts)]
        )
    }
    by_name = {row["name"]: i for i, row in enumerate(assistants)}
    answers = _list_answers(responses, prompt_places, by_name, rows, names)
    answer_places = {entry[0]: i for i, entry in enumerate(answers)}
    pairs = _list_pairs(comparisons, rows, verdicts, held_out_scores, answer_places)
    return Explorer(
        longest=LONGEST,
        assistants=list(by_name),
        edges=_list_edges(pairs, answers, assistants),
        prompts=_list_prompts(seeds, prompts, prompt_splits, prompt_places, verdicts, names),
        answers=answers,
        pairs=pairs,
        implicit=_list_implicit(preference_verdicts),
        names=names.texts,
        details=details.texts,
    )


def merge_ledgers(ledgers: Sequence[Sequence[LedgerRow]]) -> dict[str, LedgerRow]:
    """Return each row's entry by its id: of several, the last that drops it, or else the first."""
    merged: dict[str, LedgerRow] = {}
    for row in (row for ledger in ledgers for row in ledger):
        if row["row_id"] not in merged or row["rule"] != KEPT:
            merged[row["row_id"]] = row
    return merged


def _list_prompts(
    seeds: Sequence[Seed],
    prompts: Sequence[Prompt],
    prompt_splits: Sequence[PromptSplit],
    places: Mapping[str, int],
    verdicts: Mapping[str, Verdict],
    names: Places,
) -> list[PromptEntry]:
    splits = {row["prompt_id"]: names.find(row["split"]) for row in prompt_splits}
    entries: list[PromptEntry] = [
        (row["seed_id"], row["text"][:LONGEST], len(row["text"]), None, [], None) for row in seeds
    ]
    for row in prompts:
        key, text = row["prompt_id"], row["text"]
        split = _require(splits, key, "prompts", "prompt_splits")
        shots = [places.get(shot, shot) for shot in row["shot_ids"]]
        entries.append((key, text[:LONGEST], len(text), split, shots, verdicts.get(key)))
    return entries


def _list_answers(
    responses: Sequence[Response],
    prompts: Mapping[str, int],
    assistants: Mapping[str, int],
    ledger: Mapping[str, LedgerRow],
    names: Places,
) -> list[AnswerEntry]:
    entries: list[AnswerEntry] = []
    for row in responses:
        key, text, entered = row["response_id"], row["text"], ledger.get(row["response_id"])
        entries.append(
            (
                key,
                _require(prompts, row["prompt_id"], "responses", "prompts"),
                _require(assistants, row["assistant"], "responses", "assistants"),
                names.find(entered["rule"] if entered else row["verdict"]),
                len(text),
                row["n_tokens"],
                text[:LONGEST],
            )
        )
    return entries


def _list_pairs(
    comparisons: Sequence[Comparison],
    ledger: Mapping[str, LedgerRow],
    verdicts: Mapping[str, Verdict],
    held_out_scores: Sequence[ScoredComparison],
    answers: Mapping[str, int],
) -> list[PairEntry]:
    """List kept pairs, then dropped ones: those are in the ledger alone, with what they are of."""
    kept = {row["comparison_id"]: (row["chosen_id"], row["rejected_id"]) for row in comparisons}
    dropped = {
        key: (row["parent_ids"][1], row["parent_ids"][2])
        for key, row in ledger.items()
        if key not in kept and len(row["parent_ids"]) == 3
    }
    scores = {row["comparison_id"]: _list_scores(row) for row in held_out_scores}
    return [
        (
            key,
            _require(answers, chosen, "comparisons", "responses"),
            _require(answers, rejected, "comparisons", "responses"),
            verdicts.get(key),
            scores.get(key),
        )
        for key, (chosen, rejected) in {**kept, **dropped}.items()
    ]


def _list_scores(row: ScoredComparison) -> Scores | None:
    """Round to what is worth showing; what is not finite is no score."""
    found = (
        row["reward_chosen"],
        row["reward_rejected"],
        row["held_out_chosen"],
        row["held_out_rejected"],
    )
    if not all(map(math.isfinite, found)):
        return None
    chosen, rejected, held_out_chosen, held_out_rejected = (round(each, 4) for each in found)
    return chosen, rejected, held_out_chosen, held_out_rejected


def _list_implicit(
    verdicts: Iterable[PreferenceVerdict],
) -> dict[str, dict[str, tuple[float, float]]]:
    policies = {stage.name for stage in TRAINED}
    found: dict[str, dict[str, tuple[float, float]]] = {}
    for row in verdicts:
        if row["set"] == HELD_OUT_SET and row["model"] in policies:
            rewards = round(row["score_right"], 4), round(row["score_wrong"], 4)
            found.setdefault(row["item_id"], {})[row["model"]] = rewards
    return found


def _list_edges(
    pairs: Iterable[PairEntry], answers: Sequence[AnswerEntry], assistants: Sequence[Assistant]
) -> list[tuple[int, int, list[Factor]]]:
    edges = {(answers[chosen][2], answers[rejected][2]) for _, chosen, rejected, *_ in pairs}
    return [
        (better, worse, find_factors(assistants[better], assistants[worse]))
        for better, worse in sorted(edges)
    ]


def _require(places: Mapping[str, int], key: str, dataset: str, other: str) -> int:
    if key not in places:
        raise UserError(
            f"explorer: {dataset} name {key!r}, which is not in {other}; they are of different "
            f"versions: load those of one run, with --load-versions {dataset}:V,{other}:V"
        )
    return places[key]
