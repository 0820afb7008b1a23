"""Policies that answer: several models, one process."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from option_values import make_workplace

from almost_kedro.contract import Sampling
from almost_kedro.jobs.policies import Policy, let_answer
from almost_kedro.models.find import resolve_model
from almost_kedro.options.generation import GenerationOptions
from almost_kedro.options.models import Models
from almost_kedro.processes import tracking

GENERATION = GenerationOptions(engine="embedded", dtype="float32")
SAMPLING = Sampling(temperature=1.0, top_p=0.9, max_new_tokens=8, seed=3)
TEXTS = ["\n\nHuman: Why?\n\nAssistant:", "\n\nHuman: 7 + 5?\n\nAssistant:"]


@pytest.fixture
def policies(smoke_models: Models, tiny_models: dict[str, Path]) -> list[Policy]:
    store = tiny_models["tiny-small"].parent
    small, large = (
        resolve_model(name, smoke_models.root, store) for name in ("tiny-small", "tiny-large")
    )
    return [
        Policy("base", small),
        Policy("prompted", small, "A person talks with an assistant."),
        Policy("sft", large.model_copy(update={"name": "sft"}), is_checkpoint=True),
    ]


@pytest.fixture
def tracker(tmp_path: Path) -> Iterator[tracking.Tracker]:
    tracker = tracking.Tracker.start(tmp_path / "mlflow", None, "run", {})
    tracking.set_active(tracker)
    yield tracker
    tracking.set_active(None)


@pytest.mark.slow
def test_policies_answer_in_one_process_what_they_answer_in_two(
    policies: list[Policy], tracker: tracking.Tracker, tmp_path: Path
) -> None:
    work = tmp_path / "work"
    found, costs = let_answer("test", policies, TEXTS, SAMPLING, GENERATION, make_workplace(work))
    assert {name: cost["requests_generated"] for name, cost in costs.items()} == {
        "base+prompted": 4,
        "sft": 2,
    }
    # A process has a log; each job has a folder, figures and an entry in MLflow.
    assert len(list(work.glob("*/program.log"))) == 1
    assert len(list(work.glob("*/metrics.json"))) == 2
    children = {
        run.info.run_name: run.data.metrics["requests_generated"]
        for run in tracker.client.search_runs([tracker.experiment_id])
        if run.info.run_id != tracker.run_id
    }
    assert children == {"test base+prompted (tiny-small)": 4, "test sft (sft)": 2}

    alone = tmp_path / "alone"
    for group in (policies[:2], policies[2:]):
        answers, _ = let_answer("test", group, TEXTS, SAMPLING, GENERATION, make_workplace(alone))
        assert answers == {policy.name: found[policy.name] for policy in group}
    assert len(list(alone.glob("*/program.log"))) == 2
