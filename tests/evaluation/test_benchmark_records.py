"""The records of the benchmarks: their datasets, options and files are there."""

from pathlib import Path

import pytest
import yaml

from almost_kedro.evaluation.benchmark_records import BENCHMARKS, ITEMS, Benchmark
from almost_kedro.options.evaluation import EvaluationOptions

EACH = pytest.mark.parametrize("benchmark", BENCHMARKS, ids=[each.name for each in BENCHMARKS])


@EACH
def test_its_datasets_have_validators_in_the_catalog(benchmark: Benchmark, project: Path) -> None:
    catalog = yaml.safe_load((project / "conf/base/catalog_evaluation.yml").read_text("utf-8"))
    names = [benchmark.items, benchmark.verdicts, benchmark.by_rewards]
    assert all("validator" in catalog[name] for name in names if name)
    assert not benchmark.has_forms or benchmark.preset in catalog
    assert set(ITEMS) <= set(catalog)


@EACH
def test_its_options_are_there(benchmark: Benchmark) -> None:
    options = EvaluationOptions()
    assert getattr(options, benchmark.option) == "own"
    assert not benchmark.has_forms or getattr(options, benchmark.form)


@EACH
def test_our_own_items_are_asked_and_scored(benchmark: Benchmark, project: Path) -> None:
    items = benchmark.read(project / "assets/benchmarks" / benchmark.own)[:3]
    requests = benchmark.ask(items, EvaluationOptions(), "")
    rows, accuracy = benchmark.score(items, {row["id"]: -1.0 for row in requests}, "corrected")
    assert [row["item_id"] for row in rows] == [item["item_id"] for item in items]
    # Whoever finds all answers equally probable decides nothing.
    assert accuracy["all"]["n_ties"] == 3
    assert "longer_wins" in benchmark.score_floors(items)
    assert (benchmark.measure_bias is None) == (benchmark.name != "hhh")
