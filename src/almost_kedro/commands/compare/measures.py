"""The figures of one run: those that its documents have, and those that are means over its rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any, Literal, NamedTuple

from almost_kedro.commands.compare.differences import Measure, Score
from almost_kedro.commands.compare.run_data import RunData
from almost_kedro.commands.compare.scores import (
    name_contents,
    score_answers,
    score_comparisons,
    score_verdicts,
    score_votes,
)
from almost_kedro.evaluation.benchmark_records import BENCHMARKS, OPEN_QUESTIONS
from almost_kedro.evaluation.stages import TRAINED
from almost_kedro.evaluation.statistics import estimate_mean
from almost_kedro.feedback.repetition import measure_repetition
from almost_kedro.options.evaluation import HELD_OUT_SET, HHH_SET
from almost_kedro.rows.metrics import Estimate

Unit = Literal["share", "points", "number", "count", "characters", "words"]
Document = Mapping[str, Any]
# Both trained reward models: the checkpoint, and what `held_out_scores` calls it.
READERS = {"reward_model": "reward", "held_out_reward_model": "held_out"}
FLOORS = ("longer_wins", "shorter_wins", "surface")
# The items of preference sets: their dataset, their id there, and what counts of them.
PREFERRED = (
    ("hhh_items", "item_id", ()),
    ("comparisons", "comparison_id", ("comparison_id", "chosen", "rejected")),
    ("preference_items", "item_id", ("dialogue", "choices")),
)


# For `Measure.sampled`.
FIXED = False


class Figure(NamedTuple):
    """What is measured."""

    section: str
    name: str
    unit: Unit


Measures = dict[Figure, Measure]


def collect_measures(side: RunData) -> Measures:
    """Return all figures of a run, those of what it didn't make or load left out."""
    seed = read_seed(side)
    scales = {name: read_scale(side, name) for name in READERS}
    return dict(
        [
            *describe_data(side.load_document),
            *measure_readers(side, seed),
            *describe_self_play(side.load_document("self_play_metrics"), scales),
            *measure_policies(side, scales, seed),
            *measure_benchmarks(side, seed),
            *measure_preferences(side, seed),
            *measure_wins(side, seed),
        ]
    )


def read_scale(side: RunData, name: str) -> str | None:
    """Return what decides a reward model's rewards: its weights, and what dissent costs."""
    fingerprint, options = side.load_fingerprint(name), side.run.options
    if fingerprint is None or options.get("reward_model.ensemble", "1") == "1":
        return fingerprint
    return f"{fingerprint} {options.get('reward_model.ensemble_penalty')}"


def read_seed(side: RunData) -> int:
    """Return the run's own seed, so that its intervals are those that the run itself gave."""
    seed = side.run.options.get("seed", "0")
    return int(seed) if seed.isdecimal() else 0


def describe_data(load: Any) -> Iterator[tuple[Figure, Measure]]:
    """Return how much was made, and how much of what was trained on repeats a benchmark."""
    for name, document, key in (
        ("prompts", "prompts_metrics", "n_prompts"),
        ("responses", "responses_metrics", "n_responses"),
        ("comparisons", "comparisons_metrics", "n_comparisons"),
        ("demonstrations of self-play", "self_play_metrics", "n_kept"),
        (
            "prompts that repeat a benchmark item",
            "training_contamination_metrics",
            "prompts_that_repeat",
        ),
    ):
        value = load(document).get(key)
        if value is not None:
            yield Figure("Data", name, "count"), Measure(value)
    for edge, values in load("comparisons_metrics").get("edges", {}).items():
        yield Figure("Data", f"comparisons: {edge}", "count"), Measure(values["n"])


def measure_readers(side: RunData, seed: int) -> Iterator[tuple[Figure, Measure]]:
    """Return how both reward models judge held-out comparisons, with floors and gate."""
    section = "Reward models, held-out comparisons"
    rows = side.load_rows("held_out_scores")
    texts = side.load_rows("comparisons") if rows else []
    contents = name_contents(texts, "comparison_id", ("comparison_id", "chosen", "rejected"))
    for name, reward in READERS.items():
        scores = score_comparisons(rows, contents, reward)
        yield from _estimate(Figure(section, write_name(name), "share"), scores, seed)
    for name, estimate in list_other_accuracies(side.load_document):
        yield Figure(section, name, "share"), Measure(**estimate)
    report = side.load_document("reward_model_metrics")
    for name in FLOORS:
        floor = report.get("floors", {}).get(name)
        if floor:
            yield Figure(section, f"floor: {write_name(name)}", "share"), Measure(**floor)
    above = report.get("above_best_floor")
    if above:
        figure = Figure(section, "reward model above the best floor", "points")
        yield figure, Measure(above["difference"], above["low"], above["high"])
    if "calibration_error" in report:
        yield Figure(section, "calibration error", "number"), Measure(report["calibration_error"])
    gate = side.load_document("gate")
    if gate:
        verdict = "passed" if gate["passed"] else "not passed"
        yield Figure(section, "gate", "words"), Measure(verdict)


def list_other_accuracies(load: Any) -> Iterator[tuple[str, Estimate]]:
    """List what is measured of reward models by options only: members, and mismatched pairs."""
    mismatched = load("mismatched_pairs_metrics").get("accuracy", {})
    for name, reward in READERS.items():
        if reward in mismatched:
            yield f"{write_name(name)}, mismatched pairs", mismatched[reward]
    ensemble = load("reward_model_ensemble_metrics")
    for number, estimate in enumerate(ensemble.get("members", [])):
        name = ensemble["contrasts"][number] if "contrasts" in ensemble else f"{number}"
        yield f"member {name} alone", estimate


def describe_self_play(
    report: Document, scales: Mapping[str, str | None]
) -> Iterator[tuple[Figure, Measure]]:
    """Return what choosing among candidates gained, in rewards of the run's own reward models."""
    gain = report.get("gain")
    if not gain:
        return
    for name, short, reader in (
        ("reward", "reward", "reward_model"),
        ("held_out_reward", "held_out", "held_out_reward_model"),
    ):
        figure = Figure("Self-play", f"best of {gain['n']}: gain in {write_name(name)}", "number")
        bounds = gain[f"{short}_low"], gain[f"{short}_high"]
        yield figure, Measure(gain[name], *bounds, scale=scales[reader])


def measure_policies(
    side: RunData, scales: Mapping[str, str | None], seed: int
) -> Iterator[tuple[Figure, Measure]]:
    """Return what the policies answered on the test prompts: rewards, lengths, repetition.

    Each stage's test says which reward models scored its answers; `scales` are those of a test that
    doesn't. Stages share policies; the first one's answers count.
    """
    kinds: tuple[tuple[str, Unit, str, Callable[[Mapping[str, Any]], float]], ...] = (
        ("held-out reward", "number", "held_out_reward_model", itemgetter("held_out_reward")),
        ("reward", "number", "reward_model", itemgetter("reward")),
        ("length", "characters", "", lambda row: len(row["text"])),
        ("words that repeat", "share", "", lambda row: measure_repetition(row["text"])),
    )
    tables = [
        (side.load_rows(stage.answers), side.load_document(stage.metrics).get("test", {}))
        for stage in TRAINED
    ]
    for title, unit, reader, measure in kinds:
        done: set[str] = set()
        for rows, test in tables:
            scale = test.get(reader, scales[reader]) if reader else ""
            for policy, scores in score_answers(rows, measure).items():
                if policy not in done:
                    figure = Figure("Policies, test prompts", f"{policy}: {title}", unit)
                    yield from _estimate(figure, scores, seed, scale)
                    done.add(policy)


def measure_benchmarks(side: RunData, seed: int) -> Iterator[tuple[Figure, Measure]]:
    """Return the accuracies on the benchmarks."""
    options = side.run.options
    scoring = options.get("evaluation.scoring", "")
    for each in BENCHMARKS:
        scale = scoring
        if each.has_forms:
            form = options.get(f"evaluation.{each.form}", "")
            scale += f" {form}"
            # Only in this form does anything stand before a question.
            if form == "likelihood":
                scale += f" {side.load_document(each.preset).get('sha256')}"
        for verdicts, measured in ((each.verdicts, scale), (each.by_rewards, "")):
            contents = name_contents(side.load_rows(each.items), "item_id")
            for model, scores in score_verdicts(side.load_rows(verdicts), contents).items():
                figure = Figure(each.full_title, write_name(model), "share")
                yield from _estimate(figure, scores, seed, measured, FIXED)


def measure_preferences(side: RunData, seed: int) -> Iterator[tuple[Figure, Measure]]:
    """Return how often implicit rewards, and reward models, prefer the right answer, by set."""
    rows = side.load_rows("preference_verdicts")
    contents: dict[str, str] = {}
    for dataset, key, fields in PREFERRED if rows else ():
        contents |= name_contents(side.load_rows(dataset), key, fields)
    for name in dict.fromkeys(row["set"] for row in rows):
        # What reward models make of the sets that each run has is among their figures already.
        told = READERS if name in (HHH_SET, HELD_OUT_SET) else {}
        shown = [row for row in rows if row["set"] == name and row["model"] not in told]
        section = f"Right answer preferred, {write_name(name)}"
        for model, scores in score_verdicts(shown, contents, "prompt_id").items():
            figure = Figure(section, write_name(model), "share")
            yield from _estimate(figure, scores, seed, "", name == HELD_OUT_SET)


def measure_wins(side: RunData, seed: int) -> Iterator[tuple[Figure, Measure]]:
    """Return the win rates against the base model, by the run's own judge."""
    contents = name_contents(side.load_rows(OPEN_QUESTIONS), "item_id")
    cards = side.load_document("judge_cards")
    judge = cards.get("judge")
    scale = cards.get("models", {}).get(judge, {}).get("fingerprint")
    for model, scores in score_votes(side.load_rows("judge_votes"), contents).items():
        figure = Figure("Wins against the base model, open questions", model, "share")
        yield from _estimate(figure, scores, seed, scale, FIXED)


def write_name(name: str) -> str:
    """Write a name of ours as words."""
    return name.replace("_", " ")


def _estimate(
    figure: Figure, scores: Sequence[Score], seed: int, scale: str | None = "", sampled: bool = True
) -> Iterator[tuple[Figure, Measure]]:
    values = [score.value for score in scores]
    found = estimate_mean(values, [score.group for score in scores], seed)
    if found:
        yield figure, Measure(**found, scores=scores, scale=scale, sampled=sampled)
