"""The benchmarks as data: their requests, scores and names.

A new benchmark is a new record here, beside its items, options and datasets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from almost_kedro.contract import Likelihood
from almost_kedro.evaluation.benchmark_files import read_choices, read_pairs
from almost_kedro.evaluation.benchmark_hub import choices_from_hub, pairs_from_hub
from almost_kedro.evaluation.benchmarks import CATEGORIES
from almost_kedro.evaluation.hhh import (
    build_hhh_requests,
    build_likelihood_requests,
    measure_position_bias,
    score_hhh,
    score_hhh_floors,
    score_hhh_likelihoods,
)
from almost_kedro.evaluation.truthfulqa import build_mc1_requests, score_mc1, score_mc1_floors
from almost_kedro.evaluation.verdicts import Accuracy
from almost_kedro.options.evaluation import EvaluationOptions
from almost_kedro.options.rules import Rules
from almost_kedro.rows.evaluation_metrics import BenchmarkReport, EvaluationMetrics, PositionBias

# Rows of the hub, by configuration.
HubRows = Mapping[str, Iterable[Mapping[str, Any]]]
Items = Sequence[Any]
# One verdict per item, and the accuracy by category.
Scored = tuple[list[Any], dict[str, Accuracy]]


@dataclass(frozen=True)
class HubSet:
    """The published set on the hub.

    Attributes:
        configurations: All that are read.
        size: Number of items.
        make_items: Takes the rows, and the dataset's name for errors.
    """

    dataset: str
    split: str
    configurations: tuple[str, ...]
    size: int
    make_items: Callable[[HubRows, str], Items]


@dataclass(frozen=True)
class Benchmark:
    """A benchmark whose items have a right answer.

    Attributes:
        name: Its key in metrics. The names of its datasets begin with it.
        option: Says where its items are from; its key in `benchmark_sources`, too.
        title: In a table and in a sentence.
        full_title: As a heading.
        unit: What its items are, in the plural.
        own: Our own set, in `assets/benchmarks`.
        ask: Asks for log-probabilities, from items, options, and the text before a question.
        score: Scores items by log-probabilities, by either rule set.
        score_floors: Scores judges that read nothing.
        has_forms: Whether option NAME_form chooses how it asks. Then the dataset NAME_preset stands
            before a question in the form `likelihood`.
        by_rewards: The dataset of reward models' verdicts; empty if they can't answer.
        measure_bias: Measures the effect of an answer's place; None if there are no places.
        items_of: The benchmark whose items it asks about in another form; empty if it has its own.
        whole_answers: Whether it asks how probable whole answers are, as training reads them (see
            `jobs.policy_likelihoods`).
        per_token: Whether `score` gets each log-probability divided by its number of tokens.
    """

    name: str
    option: str
    title: str
    full_title: str
    unit: str
    own: str
    read: Callable[[Path], Items]
    hub: HubSet
    ask: Callable[[Items, EvaluationOptions, str], list[Likelihood]]
    score: Callable[[Items, Mapping[str, float], Rules], Scored]
    score_floors: Callable[[Items], Mapping[str, Scored]]
    has_forms: bool = False
    by_rewards: str = ""
    measure_bias: Callable[[Sequence[Any], int], PositionBias] | None = None
    items_of: str = ""
    whole_answers: bool = False
    per_token: bool = False

    @property
    def items(self) -> str:
        """The dataset of its items."""
        return f"{self.items_of or self.name}_items"

    @property
    def verdicts(self) -> str:
        """The dataset of policies' verdicts."""
        return f"{self.name}_verdicts"

    @property
    def form(self) -> str:
        """The option that chooses how it asks."""
        return f"{self.name}_form"

    @property
    def preset(self) -> str:
        """The dataset of the text before a question."""
        return f"{self.name}_preset"

    def find_report(self, metrics: EvaluationMetrics) -> BenchmarkReport:
        """Return this benchmark's report from a run's metrics."""
        report: BenchmarkReport = metrics[self.name]  # type: ignore[literal-required]
        return report


HHH = Benchmark(
    name="hhh",
    option="hhh",
    title="HHH",
    full_title="Static HHH",
    unit="pairs",
    own="hhh.json",
    read=read_pairs,
    hub=HubSet("HuggingFaceH4/hhh_alignment", "test", CATEGORIES, 221, pairs_from_hub),
    ask=lambda items, _options, _preset: build_hhh_requests(items),
    score=score_hhh,
    score_floors=score_hhh_floors,
    by_rewards="reward_verdicts",
    measure_bias=measure_position_bias,
)
HHH_LIKELIHOOD = replace(
    HHH,
    name="hhh_likelihood",
    title="HHH by likelihood",
    full_title="Static HHH, log-probability of the answers",
    ask=lambda items, _options, _preset: build_likelihood_requests(items),
    score=score_hhh_likelihoods,
    by_rewards="",
    measure_bias=None,
    items_of=HHH.name,
    whole_answers=True,
)
HHH_PER_TOKEN = replace(
    HHH_LIKELIHOOD,
    name="hhh_per_token",
    title="HHH per token",
    full_title="Static HHH, log-probability a token of the answers",
    per_token=True,
)
MC1 = Benchmark(
    name="mc1",
    option="truthfulqa",
    title="MC1",
    full_title="TruthfulQA-MC1",
    unit="questions",
    own="truthfulqa_mc1.json",
    read=read_choices,
    hub=HubSet(
        "truthfulqa/truthful_qa",
        "validation",
        ("multiple_choice",),
        817,
        lambda rows, source: choices_from_hub(rows["multiple_choice"], source),
    ),
    ask=lambda items, options, preset: build_mc1_requests(items, options.mc1_form, preset),
    score=score_mc1,
    score_floors=score_mc1_floors,
    has_forms=True,
)
# In the order of tables and pages.
BENCHMARKS = (HHH, HHH_LIKELIHOOD, HHH_PER_TOKEN, MC1)
# Those that have items of their own.
SETS = tuple(benchmark for benchmark in BENCHMARKS if not benchmark.items_of)
# The open questions, which a judge reads: their key in metrics, their option, and their dataset.
QUESTIONS, OPEN_QUESTIONS = "questions", "open_questions"
# The items of the user's preference sets.
PREFERENCES = "preference_items"
# All datasets of items.
ITEMS = (*(benchmark.items for benchmark in SETS), OPEN_QUESTIONS, PREFERENCES)
