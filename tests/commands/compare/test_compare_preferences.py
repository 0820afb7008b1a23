"""Preference sets of two runs: what is read of them, and what it is called."""

from pathlib import Path
from typing import Any

from kedro.framework.startup import bootstrap_project
from kedro.io import DataCatalog, Version
from made_rows import make_comparison, make_preference_item

from almost_kedro.cli.project import load_context
from almost_kedro.commands.compare.measures import measure_preferences
from almost_kedro.commands.compare.run_data import RunData
from almost_kedro.commands.compare.runs import Run
from almost_kedro.evaluation.preferences import judge_items, list_answers, list_held_out

SESSION = "2026-01-02T03.04.05.678Z"


def test_implicit_rewards_are_compared_by_set_and_grouped_by_prompt(
    project: Path, tmp_path: Path
) -> None:
    bootstrap_project(project)
    catalog = load_context(project, "smoke", {"data_root": str(tmp_path)}).catalog
    assert isinstance(catalog, DataCatalog)
    pairs = [make_comparison(f"c{n}", prompt_id="p", chosen="Because.") for n in range(2)]
    own = [make_preference_item("mine-0001", prompt_id="q")]

    def judge(items: list[Any], model: str, *scores: float) -> list[Any]:
        ids = [row["id"] for row in list_answers(items)]
        return judge_items(items, model, dict(zip(ids, scores, strict=True)))

    held_out = list_held_out(pairs)
    rows = [
        *judge(held_out, "sft", 1.0, 0.0, 0.0, 1.0),
        *judge(held_out, "reward_model", 1.0, 0.0, 1.0, 0.0),
        *judge(own, "sft", 1.0, 0.0),
        *judge(own, "reward_model", 0.0, 1.0),
    ]
    data = {"comparisons": pairs, "preference_items": own, "preference_verdicts": rows}
    for name, value in data.items():
        catalog.get(name, version=Version(None, SESSION)).save(value)
    versions = dict.fromkeys(data, SESSION)
    run = Run("r", SESSION, 0, None, "evaluation", "smoke", "FINISHED", "", {}, versions)
    found = {(f.section, f.name): m for f, m in measure_preferences(RunData(run, catalog), 0)}
    assert {key: measure.value for key, measure in found.items()} == {
        ("Right answer preferred, held out", "sft"): 0.5,
        # Of held-out comparisons, reward models' figures stand elsewhere.
        ("Right answer preferred, mine", "sft"): 1.0,
        ("Right answer preferred, mine", "reward model"): 0.0,
    }
    scores = found["Right answer preferred, held out", "sft"].scores
    assert [score.group for score in scores] == ["p", "p"]
    assert len({score.item for score in scores}) == 2
    assert not found["Right answer preferred, mine", "sft"].sampled
