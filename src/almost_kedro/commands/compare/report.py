"""All that is compared of two runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from almost_kedro.commands.compare.costs import Cost, Step, pair_costs, sum_costs
from almost_kedro.commands.compare.differences import Measure, Outcome, compare_measures
from almost_kedro.commands.compare.measures import Figure, collect_measures, read_seed
from almost_kedro.commands.compare.options import OptionDifference, compare_options
from almost_kedro.commands.compare.run_data import (
    ModelPair,
    RowsDifference,
    RunData,
    list_differing_rows,
    list_missing,
    pair_models,
)
from almost_kedro.commands.compare.runs import Run


@dataclass(frozen=True)
class FigurePair:
    """A figure that both runs have."""

    figure: Figure
    a: Measure
    b: Measure
    outcome: Outcome


@dataclass(frozen=True)
class Report:
    """Two runs side by side; `a` is the first, and differences are b - a.

    Attributes:
        runs: Both.
        options: Those that differ.
        rows: Rows that differ.
        same_rows: Datasets of rows that have the same bytes.
        models: All models.
        figures: Those that both runs have.
        single_figures: Those that only the first has, and those that only the second has.
        costs: By step.
        missing: The datasets that one run has and the other has not: what only the first, and what
            only the second has.
        problems: What could not be read, in words.
    """

    runs: tuple[Run, Run]
    options: Sequence[OptionDifference]
    rows: Sequence[RowsDifference]
    same_rows: Sequence[str]
    models: Sequence[ModelPair]
    figures: Sequence[FigurePair]
    single_figures: tuple[Sequence[Figure], Sequence[Figure]]
    costs: Sequence[tuple[str, Cost | None, Cost | None]]
    missing: tuple[Sequence[str], Sequence[str]]
    problems: Sequence[str]

    @property
    def tested(self) -> list[FigurePair]:
        """The figures with a test."""
        return [pair for pair in self.figures if pair.outcome.test != "none"]


def compare_runs(a: RunData, b: RunData, steps: tuple[Sequence[Step], Sequence[Step]]) -> Report:
    """Compare two runs."""
    rows, same = list_differing_rows(a, b)
    measures = collect_measures(a), collect_measures(b)
    figures = pair_figures(*measures, read_seed(a))
    return Report(
        runs=(a.run, b.run),
        options=compare_options(a.run.options, b.run.options),
        rows=rows,
        same_rows=same,
        models=pair_models(a, b),
        figures=figures,
        single_figures=(
            [figure for figure in measures[0] if figure not in measures[1]],
            [figure for figure in measures[1] if figure not in measures[0]],
        ),
        costs=pair_costs(sum_costs(steps[0]), sum_costs(steps[1])),
        missing=(list_missing(a, b), list_missing(b, a)),
        problems=[
            f"{label}: {name}: {reason}"
            for label, side in (("A", a), ("B", b))
            for name, reason in side.problems.items()
        ],
    )


def pair_figures(
    a: Mapping[Figure, Measure], b: Mapping[Figure, Measure], seed: int
) -> list[FigurePair]:
    """Put the figures that both runs have side by side, with a test of each difference."""
    return [
        FigurePair(figure, a[figure], b[figure], compare_measures(a[figure], b[figure], seed))
        for figure in a
        if figure in b
    ]
