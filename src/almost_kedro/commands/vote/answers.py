"""Finds what two policies answered to the same questions, in the newest versions of a data root."""

from __future__ import annotations

from typing import Any, NamedTuple

from kedro.io import AbstractVersionedDataset, DataCatalog

from almost_kedro.datasets.whole_file import StreamedRowsDataset
from almost_kedro.errors import UserError
from almost_kedro.evaluation.answer_pairs import (
    AnswerPair,
    check_same_models,
    pair_open_answers,
    pair_test_answers,
)
from almost_kedro.evaluation.stages import NAMES, TRAINED, Pair

OPEN = "open_answers"
# By dataset of answers: the document with the fingerprints of who wrote them.
WRITERS = {OPEN: "open_answers_metrics", **{each.answers: each.metrics for each in TRAINED}}


class FoundAnswers(NamedTuple):
    """Pairs of answers, the versions of the datasets that they are from, and the run's judge."""

    pairs: list[AnswerPair]
    versions: dict[str, str]
    judge: str


def check_models(names: tuple[str, ...]) -> Pair:
    """Return two different policies; raise UserError for anything else."""
    if len(names) != 2:
        raise UserError(f"give two of {', '.join(NAMES)}; found {len(names)}")
    for name in names:
        if name not in NAMES:
            raise UserError(f"policy {name!r}: unknown; there are {', '.join(NAMES)}")
    if names[0] == names[1]:
        raise UserError(f"policy {names[0]!r} twice: a vote is between two; give another one")
    return names[0], names[1]


def find_answers(catalog: DataCatalog, models: Pair) -> FoundAnswers:
    """Find all questions and test prompts that both models answered.

    Raises UserError if there are none, or if answers under one name are of different models.
    """
    answers = {name: _load(catalog, name, []) for name in WRITERS}
    open_answers = answers.pop(OPEN)
    questions = _load(catalog, "open_questions", []) if open_answers else []
    votes = _load(catalog, "judge_votes", []) if open_answers else []
    texts = _read_prompts(catalog, {row["prompt_id"] for each in answers.values() for row in each})
    pairs = pair_open_answers(models, questions, open_answers, votes)
    pairs += pair_test_answers(models, texts, answers)
    if not pairs:
        raise UserError(
            f"{models[0]} and {models[1]}: there is no question that both answered; run `kedro "
            "run` first, with the same --env, to its end (`--pipeline evaluation` asks all of them)"
        )
    used = sorted({name for pair in pairs for name in pair.source.split("+")})
    check_same_models(models, {name: _read_writers(catalog, name) for name in used})
    cards = _load(catalog, "judge_cards", {})
    return FoundAnswers(
        pairs, {name: _find_version(catalog, name) for name in used}, cards.get("judge", "")
    )


def _load(catalog: DataCatalog, name: str, nothing: Any) -> Any:
    return catalog.load(name) if catalog.exists(name) else nothing


def _read_prompts(catalog: DataCatalog, ids: set[str]) -> dict[str, str]:
    dataset = catalog.get("prompts")
    assert isinstance(dataset, StreamedRowsDataset)
    if not ids or not dataset.exists():
        return {}
    return {row["prompt_id"]: row["text"] for row in dataset.find("prompt_id", ids)}


def _read_writers(catalog: DataCatalog, name: str) -> dict[str, str]:
    models = _load(catalog, WRITERS[name], {}).get("models", {})
    return {model: str(about["fingerprint"]) for model, about in models.items()}


def _find_version(catalog: DataCatalog, name: str) -> str:
    dataset = catalog.get(name)
    assert isinstance(dataset, AbstractVersionedDataset)
    return str(dataset.resolve_load_version())
