"""Several reward models as one, where rows are scored: who is asked, and what comes of it."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

import pytest
from families import make_judge, save, scale
from made_rows import make_comparison
from option_values import PARAMETERS, make_options, make_workplace
from training_jobs import as_folder, make_rows, make_score_job

from almost_kedro.errors import UserError
from almost_kedro.feedback.ensemble import Scale
from almost_kedro.feedback.reward_rows import build_reward_rows
from almost_kedro.jobs.reward_models import check_members, find_members, list_members, make_scorer
from almost_kedro.jobs.score import Ensemble, score, score_by_all, sum_costs
from almost_kedro.models.checkpoints import Checkpoint
from almost_kedro.options.all import Options
from almost_kedro.training.job import ScoreJob

SCALES = [[0.5, 2.0], [-1.0, 0.25]]


def combine(*rewards: float) -> float:
    """The formula, with a penalty of 0.5."""
    z = [(r - mean) / std for r, (mean, std) in zip(rewards, SCALES, strict=True)]
    return fmean([2.0, 0.25]) * (fmean(z) - 0.5 * pstdev(z))


def make_checkpoint(name: str, **manifest: Any) -> Checkpoint:
    own = {"kind": "reward_model", "name": name, "fingerprint": f"f-{name}", "base": {}}
    return Checkpoint(Path(name), {**own, **manifest})


def make_pair() -> Checkpoint:
    first = make_checkpoint("reward_model", scales=SCALES)
    return replace(first, members=(make_checkpoint("reward_model_seed_1"),))


def choose(**changes: Any) -> Options:
    return make_options(reward_model={**PARAMETERS["reward_model"], **changes})


def test_one_reward_model_alone_is_scored_as_ever(tmp_path: Path) -> None:
    scorer = make_scorer(make_checkpoint("reward_model"), choose(), make_workplace(tmp_path))
    assert isinstance(scorer, ScoreJob)
    assert scorer.model.name == "reward_model"


def test_members_come_from_the_checkpoint_and_the_penalty_from_the_options(tmp_path: Path) -> None:
    options = choose(ensemble=2, ensemble_penalty=0.75)
    scorer = make_scorer(make_pair(), options, make_workplace(tmp_path))
    assert isinstance(scorer, Ensemble)
    assert [job.model.name for job in scorer.members] == ["reward_model", "reward_model_seed_1"]
    assert scorer.scales == (Scale(0.5, 2.0), Scale(-1.0, 0.25))
    assert scorer.penalty == 0.75
    assert scorer.model.name == "reward_model"
    other = replace(scorer, penalty=0.5)
    assert len({scorer.model.fingerprint, other.model.fingerprint, "f-reward_model"}) == 3
    members = find_members(make_pair(), options)
    assert members
    assert [model.fingerprint for model in members.models] == ["f-reward_model_seed_1"]
    assert (members.scales, members.penalty) == ([(0.5, 2.0), (-1.0, 0.25)], 0.75)
    assert find_members(make_checkpoint("reward_model"), options) is None


def test_another_number_of_members_than_the_options_say_is_one_clear_line() -> None:
    check_members(make_pair(), choose(ensemble=2))
    check_members(make_checkpoint("reward_model"), choose())
    with pytest.raises(UserError, match=r"ensemble: 3, but reward_model was trained as 2; run"):
        check_members(make_pair(), choose(ensemble=3))
    with pytest.raises(UserError, match=r"ensemble: 1, but reward_model was trained as 2; run"):
        check_members(make_pair(), choose())


def test_members_of_other_contrasts_than_the_options_say_are_one_clear_line() -> None:
    def trained_on(*contrasts: str) -> Checkpoint:
        first = make_checkpoint("reward_model_size", scales=SCALES, contrasts=list(contrasts))
        return replace(first, members=(make_checkpoint("reward_model_topic"),))

    check_members(trained_on("size", "topic"), choose(ensemble="size+topic"))
    with pytest.raises(
        UserError, match=r"ensemble: \[size, shots\], but .* as \[size, topic\]; run"
    ):
        check_members(trained_on("size", "topic"), choose(ensemble="size+shots"))
    with pytest.raises(UserError, match=r"ensemble: 2, but .* was trained as \[size, topic\]; run"):
        check_members(trained_on("size", "topic"), choose(ensemble=2))
    with pytest.raises(UserError, match=r"ensemble: \[size, topic\], but .* was trained as 2; run"):
        check_members(make_pair(), choose(ensemble="size+topic"))


def test_each_member_has_its_own_seed_or_its_own_comparisons() -> None:
    edges = [("best", "other"), ("best", "off"), ("other", "off")]
    comparisons = [
        make_comparison(f"c{n}", chosen_assistant=chosen, rejected_assistant=rejected)
        for n, (chosen, rejected) in enumerate(edges)
    ]
    rows = build_reward_rows(comparisons, "corrected")
    alike = list_members(rows, comparisons, choose(ensemble=2))
    assert [(each.name, each.seed, each.rows) for each in alike] == [
        ("reward_model", 0, rows),
        ("reward_model_seed_1", 1000, rows),
    ]
    contrasts = {"size": ["best", "other"], "topic": ["best", "off"], "none": ["off", "odd"]}
    options = choose(ensemble="size+topic").model_copy(update={"contrasts": contrasts})
    apart = list_members(rows, comparisons, options)
    assert [(each.name, each.seed, each.rows) for each in apart] == [
        ("reward_model_size", 0, [rows[0]]),
        ("reward_model_topic", 0, [rows[1]]),
    ]
    empty = choose(ensemble="size+none").model_copy(update={"contrasts": contrasts})
    with pytest.raises(UserError, match="of 3 comparisons to train on, none is of contrast 'none'"):
        list_members(rows, comparisons, empty)


def test_costs_of_the_same_rows_are_summed_but_peaks_are_not() -> None:
    one: Any = {"rows": 4, "tokens": 10, "tokens_per_second": 5.0, "seconds": 2.5}
    two = {**one, "tokens_per_second": 1.0, "seconds": 11.0}
    memory = {"peak_memory_mb": 300.0, "padding_difference": 0.25}
    lower = {"peak_memory_mb": 200.0, "padding_difference": 0.5}
    assert sum_costs([{**one, **memory}, {**two, **lower}]) == {
        "rows": 4,
        "tokens": 20,
        "tokens_per_second": round(20 / 12, 1),
        "seconds": 13.5,
        "peak_memory_mb": 300.0,
        "padding_difference": 0.5,
    }


@pytest.mark.slow
def test_rewards_are_combined_from_the_members_own_which_are_kept(
    tmp_path: Path, tiny_models: dict[str, Path]
) -> None:
    rows = make_rows(6, seed=1)
    judges = [make_judge(), scale(make_judge(), 1.5)]
    jobs = []
    for number, judge in enumerate(judges):
        folder = save(judge, tmp_path / f"judge{number}", tiny_models)
        job = make_score_job(tmp_path, folder, [])
        jobs.append(job.model_copy(update={"model": as_folder(folder)}))
    ensemble = Ensemble(tuple(jobs), tuple(Scale(*each) for each in SCALES), 0.5)
    together, alone, other = score_by_all([ensemble, *jobs], rows)
    assert len(set(together[0].values())) == len(rows)
    for id_, reward in together[0].items():
        assert reward == pytest.approx(combine(alone[0][id_], other[0][id_]))
    assert together[1]["tokens"] == alone[1]["tokens"] + other[1]["tokens"]
    # With another penalty nothing is computed anew: no model is there to do it.
    for job in jobs:
        assert job.model.folder
        shutil.rmtree(job.model.folder)
    again, _ = score(replace(ensemble, penalty=0.0), rows)
    assert again != together[0]
    assert len(list(tmp_path.glob("rewards-*/metrics.json"))) == 2
    assert all(json.loads(file.read_text())["rows"] == 6 for file in tmp_path.glob("r*/m*.json"))
