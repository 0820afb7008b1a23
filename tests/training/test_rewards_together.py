"""Several reward models as one in reinforcement learning."""

from pathlib import Path
from typing import Any

import pytest
from families import make_judge, save, scale
from training_jobs import as_folder, make_rows, write_job

from almost_kedro.feedback.ensemble import Scale, combine_rewards
from almost_kedro.training.job import RewardMembers, TrainingJob
from almost_kedro.training.rewarders import Rewarder, Rewarders

SCALES = [(0.5, 2.0), (-1.0, 0.25)]


def make_job(tmp_path: Path, first: Path, second: Path, **members: Any) -> TrainingJob:
    given = {"models": [as_folder(second)], "scales": SCALES, "penalty": 0.5, **members}
    changes = {"members": RewardMembers(**given)}
    rows = make_rows(1, seed=0)
    return write_job("rl", tmp_path, first, rows, reward_model=first, changes=changes).job


def test_an_answers_reward_is_what_both_models_say_together(
    tmp_path: Path, tiny_models: dict[str, Path]
) -> None:
    first = save(make_judge(), tmp_path / "first", tiny_models)
    second = save(scale(make_judge(), 1.5), tmp_path / "second", tiny_models)
    job = make_job(tmp_path / "job", first, second)
    rows = make_rows(5, seed=3)
    asked = [row["dialogue"] for row in rows], [row["answer"] for row in rows]
    own = [Rewarder(as_folder(each), job, "cpu").reward(*asked) for each in (first, second)]
    expected = combine_rewards(own, [Scale(*each) for each in SCALES], 0.5)
    found = Rewarders(job, "cpu").reward(*asked)
    assert found == pytest.approx([each.reward for each in expected])
    assert len(set(found)) == 5


def test_members_scales_and_penalty_decide_the_policy(tmp_path: Path) -> None:
    first, second = Path("models/first"), Path("models/second")
    job = make_job(tmp_path, first, second)
    assert TrainingJob.model_validate_json(job.model_dump_json()) == job
    others = [
        job.model_copy(update={"members": None}),
        make_job(tmp_path, first, Path("models/third")),
        make_job(tmp_path, first, second, penalty=0.25),
        make_job(tmp_path, first, second, scales=[(0.5, 2.0), (-1.0, 0.5)]),
        make_job(tmp_path, first, second, models=[as_folder(second)] * 2),
    ]
    assert len({each.identity() for each in [job, *others]}) == 6
