"""Answers to other prompts and several reward models as one, through real Kedro sessions."""

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from sessions import find_versions, kedro, make_options, read_document, run_pipeline
from smoke_runs import read_latest

from almost_kedro.contract import ModelFolder
from almost_kedro.feedback.ensemble import Scale, combine_rewards
from almost_kedro.jobs.score import score_by_jobs
from almost_kedro.training.job import ScoreJob

pytestmark = pytest.mark.slow

OPTIONS = ("reward_model.mismatched.per_pair=2", "reward_model.ensemble=2")


@pytest.fixture(scope="module")
def root(project: Path, made_alignment: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with neither option, after which all from the reward models on ran with both."""
    root = Path(shutil.copytree(made_alignment, tmp_path_factory.mktemp("both") / "data"))
    for name in ("reward_model", "rmsp_sft", "rl"):
        done = run_pipeline(project, root, name, *OPTIONS)
        assert done.returncode == 0, done.stdout + done.stderr
    return root


def read_job(folder: Path) -> dict[str, Any]:
    job: dict[str, Any] = json.loads((folder / "job.json").read_text())
    return job


def list_jobs(root: Path, name: str) -> list[dict[str, Any]]:
    """Jobs of a training, oldest first."""
    folders = root.glob(f"06_models/work/{name}-????????????")
    return [read_job(f) for f in sorted(folders, key=lambda f: (f / "job.json").stat().st_mtime)]


def test_each_comparison_has_its_pairs_and_the_first_run_had_none(root: Path) -> None:
    files = sorted(root.glob("05_model_input/mismatched_pairs.jsonl/*/*"))
    assert files[0].read_text() == ""
    pairs = read_latest(root, "mismatched_pairs")
    splits = {row["prompt_id"]: row["split"] for row in read_latest(root, "prompt_splits")}
    counted = Counter(pair["comparison_id"] for pair in pairs)
    for row in read_latest(root, "reward_pairs"):
        n = counted[row["comparison_id"]]
        assert n == 2 or (n < 2 and splits[row["prompt_id"]] == "held_out")
    answers = {row["response_id"]: row for row in read_latest(root, "responses")}
    for pair in pairs:
        assert pair["rejected"] == answers[pair["rejected_id"]]["text"]
        assert answers[pair["rejected_id"]]["prompt_id"] == pair["rejected_prompt_id"]
        assert splits[pair["rejected_prompt_id"]] == splits[pair["prompt_id"]]


def test_a_pair_goes_back_to_both_answers_and_both_prompts(project: Path, root: Path) -> None:
    pair = read_latest(root, "mismatched_pairs")[0]
    found = kedro(
        project, "trace", pair["mismatched_id"], "--env", "smoke", "--params", f"data_root={root}"
    )
    assert found.returncode == 0, found.stderr
    for name in ("comparison_id", "chosen_id", "rejected_id", "prompt_id", "rejected_prompt_id"):
        assert pair[name] in found.stdout, name


def test_rows_of_training_have_the_pairs_and_old_models_stay_where_they_are(root: Path) -> None:
    for name in ("reward_model", "reward_model_seed_1", "held_out_reward_model"):
        before, after = list_jobs(root, name)
        old, new = (
            [json.loads(line) for line in Path(job["rows"]).read_text().splitlines()]
            for job in (before, after)
        )
        assert before["options"] == after["options"]
        assert not any("mismatched" in row for row in old)
        assert all(len(row["mismatched"]) == 2 for row in new)
        plain = [{k: v for k, v in row.items() if not k.startswith("mismatched")} for row in new]
        assert plain == old
    for name in ("reward_model", "held_out_reward_model"):
        first, *_, last = (
            json.loads((folder / "manifest.json").read_text())
            for folder in find_versions(root, name)
        )
        assert first["data"] == last["data"]  # so DPO on the comparisons fits both


def test_the_reward_model_has_its_member_and_the_held_out_one_has_none(root: Path) -> None:
    folder = find_versions(root, "reward_model")[-1]
    own, member = (
        json.loads(file.read_text())
        for file in (folder / "manifest.json", folder / "members/1/manifest.json")
    )
    assert (own["options"]["seed"], member["options"]["seed"]) == (0, 1000)
    assert own["fingerprint"] != member["fingerprint"]
    assert own["data"] == member["data"]
    assert "mismatched_pairs" in own["parents"]
    assert own["parents"] == member["parents"]
    assert not (find_versions(root, "held_out_reward_model")[-1] / "members").exists()
    assert not (find_versions(root, "reward_model")[0] / "members").exists()


def test_rewards_are_those_of_both_together_everywhere(root: Path) -> None:
    folder = find_versions(root, "reward_model")[-1]
    manifests = [
        json.loads(file.read_text())
        for file in (folder / "manifest.json", folder / "members/1/manifest.json")
    ]
    rewards: list[dict[str, float]] = [{}, {}]
    for work in root.glob("06_models/work/rewards-*"):
        for found, manifest in zip(rewards, manifests, strict=True):
            if read_job(work)["model"]["fingerprint"] == manifest["fingerprint"]:
                lines = (work / "rewards.jsonl").read_text().splitlines()
                found |= {row["id"]: row["reward"] for row in map(json.loads, lines)}
    scales = [Scale(*scale) for scale in manifests[0]["scales"]]

    def combine(id_: str) -> float:
        [found] = combine_rewards([[own[id_]] for own in rewards], scales, 0.5)
        return found.reward

    for row in read_latest(root, "held_out_scores"):
        assert row["reward_chosen"] == pytest.approx(combine(f"{row['comparison_id']}:chosen"))
    played = [row for row in read_latest(root, "self_play") if row["reward"] is not None]
    for row in played:
        assert row["reward"] == pytest.approx(combine(row["candidate_id"]))
    for row in [*read_latest(root, "sft_answers"), *read_latest(root, "rl_answers")]:
        assert row["reward"] == pytest.approx(combine(row["answer_id"]))
    assert played


def test_rollouts_have_the_rewards_of_both_together(root: Path, tmp_path: Path) -> None:
    before, after = list_jobs(root, "rl_policy")
    assert before["members"] is None
    members = after["members"]
    assert [model["name"] for model in members["models"]] == ["reward_model_seed_1"]
    dialogues = {
        row["id"]: row["dialogue"]
        for row in map(json.loads, Path(after["rows"]).read_text().splitlines())
    }
    rollouts = {row["rollout_id"]: row for row in read_latest(root, "rollouts")}
    jobs = [
        ScoreJob(
            model=ModelFolder.model_validate(model),
            rows=tmp_path,
            rows_sha256="",
            separator=after["separator"],
            max_length=after["reward_max_length"],
            dtype=after["launch"]["dtype"],
            out=tmp_path,
        )
        for model in (after["reward_model"], *members["models"])
    ]
    texts = [
        {"id": id_, "dialogue": dialogues[row["prompt_id"]], "answer": row["completion"]}
        for id_, row in rollouts.items()
    ]
    first, second = (found for found, _ in score_by_jobs(jobs, texts))
    scales = [Scale(*scale) for scale in members["scales"]]
    for id_, row in rollouts.items():
        [both] = combine_rewards([[first[id_]], [second[id_]]], scales, members["penalty"])
        assert row["reward"] == pytest.approx(both.reward, abs=2e-3)
    # It is not the first one's, which a run without members has.
    assert max(abs(row["reward"] - first[id_]) for id_, row in rollouts.items()) > 0.02


def test_figures_say_what_both_options_gave(root: Path) -> None:
    pairs = read_document(root, "mismatched_pairs_metrics")
    n = len(read_latest(root, "mismatched_pairs"))
    held_out = len(read_latest(root, "held_out_scores"))
    assert pairs["n_pairs"] == n
    assert 0 < pairs["n_held_out"] <= 2 * held_out
    assert set(pairs["accuracy"]) == set(pairs["cost"]) == {"reward", "held_out"}
    together = read_document(root, "reward_model_ensemble_metrics")
    assert (together["n_members"], together["n"]) == (2, held_out)
    gate = read_document(root, "reward_model_metrics")
    assert gate["accuracy"]["value"] == together["used"]["value"]
    seeds = read_document(root, "reward_model_seeds_metrics")
    assert seeds["accuracies"] == [each["value"] for each in together["members"]]
    training = read_document(root, "reward_model_training_metrics")
    assert {"seed 1", "rewards", "seed 1, rewards"} <= training.keys()


def test_another_number_of_reward_models_is_refused_before_anything_is_played(
    project: Path, root: Path
) -> None:
    options = make_options(root, "rmsp_sft", "reward_model.ensemble=3")
    done = kedro(project, "run", *options, "--from-nodes", "play")
    assert done.returncode != 0
    assert "option reward_model.ensemble: 3, but" in done.stdout + done.stderr
    assert "was trained as 2" in done.stdout + done.stderr


CONTRASTS = ("reward_model.ensemble=size+topic", "reward_model_seeds=1")


@pytest.fixture(scope="module")
def apart(project: Path, root: Path) -> Path:
    """All of that, and then an ensemble of two contrasts."""
    for names in ("reward_model", "rmsp_sft,rl"):
        done = run_pipeline(project, root, names, *CONTRASTS)
        assert done.returncode == 0, done.stdout + done.stderr
        if names == "reward_model":
            assert "2 reward models as one: right in" in done.stderr
            assert "alone in size " in done.stderr
    return root


def test_members_of_contrasts_learn_from_their_own_comparisons_and_reward_together(
    apart: Path,
) -> None:
    folder = find_versions(apart, "reward_model")[-1]
    own, member = (
        json.loads(file.read_text())
        for file in (folder / "manifest.json", folder / "members/1/manifest.json")
    )
    assert own["contrasts"] == ["size", "topic"]
    assert (own["name"], member["name"]) == ("reward_model_size", "reward_model_topic")
    assert own["data"] == member["data"]
    pairs = {row["comparison_id"]: row for row in read_latest(apart, "reward_pairs")}
    trained = []
    for name, factors in (("reward_model_size", ["size"]), ("reward_model_topic", ["topic"])):
        [job] = list_jobs(apart, name)
        rows = [json.loads(line) for line in Path(job["rows"]).read_text().splitlines()]
        assert rows
        assert all(pairs[row["id"]]["factors"] == factors for row in rows)
        trained.append({row["id"] for row in rows})
    assert not trained[0] & trained[1]
    together = read_document(apart, "reward_model_ensemble_metrics")
    assert together["contrasts"] == ["size", "topic"]
    gate = read_document(apart, "reward_model_metrics")
    assert gate["accuracy"]["value"] == together["used"]["value"]
    rl = list_jobs(apart, "rl_policy")[-1]
    assert rl["reward_model"]["fingerprint"] == own["fingerprint"]
    assert [model["name"] for model in rl["members"]["models"]] == ["reward_model_topic"]
    assert rl["members"]["scales"] == own["scales"]


def test_an_ensemble_of_what_is_no_contrast_is_refused_before_anything_else(
    project: Path, tmp_path: Path
) -> None:
    done = run_pipeline(
        project,
        tmp_path,
        "synthetic_feedback,reward_model",
        "reward_model.ensemble=size+courage",
        "reward_model_seeds=1",
    )
    assert done.returncode != 0
    assert "contrast 'courage' is unknown; contrasts has size, topic" in done.stdout + done.stderr
    assert not list(tmp_path.glob("0[2-7]*/*/*/*.jsonl"))
