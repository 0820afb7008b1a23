"""All models on all benchmarks through real Kedro sessions, from what other processes stored."""

import contextlib
import json
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chat_server import prefer_longer, serve
from sessions import find_versions, kedro, make_command, make_options, read_document, run_pipeline
from smoke_runs import read_latest, run_smoke

from almost_kedro.evaluation.statistics import show_share

POLICIES = ("base", "prompted", "sft", "rl")
REWARD_MODELS = ("reward_model", "held_out_reward_model")


@pytest.fixture(scope="module")
def root(evaluated: Path) -> Path:
    return evaluated


@pytest.fixture(scope="module")
def metrics(root: Path) -> dict[str, Any]:
    found: dict[str, Any] = read_document(root, "evaluation_metrics")
    return found


def refuse(done: subprocess.CompletedProcess[str]) -> str:
    """The one clear line of a run that stopped before anything was computed."""
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    for node in ("evaluate_policies", "write_prompts"):
        assert f"Running node: {node}" not in done.stdout + done.stderr
    return done.stderr.strip().splitlines()[-1]


def find_work(root: Path) -> dict[str, int]:
    """What programs computed, with the time at which it was finished."""
    places = ("04_feature/evaluation/*/metrics.json", "06_models/work/*/metrics.json")
    return {str(file): file.stat().st_mtime_ns for place in places for file in root.glob(place)}


def list_work(root: Path) -> dict[str, int]:
    found = find_work(root)
    assert any("logprobs-" in name for name in found)
    return found


def test_every_model_has_figures_beside_the_floors(metrics: dict[str, Any]) -> None:
    assert metrics["hhh"]["models"].keys() == {*POLICIES, *REWARD_MODELS}
    for name in ("hhh_likelihood", "hhh_per_token", "mc1"):
        assert metrics[name]["models"].keys() == set(POLICIES)
    for name in ("hhh", "hhh_likelihood", "hhh_per_token", "mc1"):
        assert metrics[name]["n"] == 8
        assert metrics[name]["floors"].keys() == {"chance", "longer_wins", "shorter_wins"}
        for found in (*metrics[name]["models"].values(), *metrics[name]["floors"].values()):
            share = found["accuracy"]
            assert 0 <= share["low"] <= share["value"] <= share["high"] <= 1
            assert found["n_right"] + found["n_wrong"] + found["n_ties"] == 8
        assert {"sft-vs-base", "rl-vs-sft", "rl-vs-base"} <= metrics[name]["differences"].keys()
    assert metrics["hhh"]["models"]["base"]["by_category"].keys() == {
        "helpful",
        "harmless",
        "honest",
        "other",
    }
    assert metrics["hhh"]["position_bias"].keys() == set(POLICIES)


def test_every_figure_stands_beside_its_source_and_the_gate(
    root: Path, metrics: dict[str, Any], project: Path
) -> None:
    for name, file in (("hhh", "hhh.json"), ("questions", "open_questions.jsonl")):
        source = metrics[name]["source"]
        assert (source["kind"], source["location"]) == ("own", f"benchmarks/{file}")
        assert source["n"] >= 40
        assert len(source["sha256"]) == 64
    preset = json.loads(sorted(root.glob("03_primary/mc1_preset.json/*/*"))[-1].read_text())
    assert metrics["mc1_preset"] == {"location": "own", "sha256": preset["sha256"]}
    trained = metrics["contamination"]["training"]
    assert trained["prompts_that_repeat"] == trained["demonstrations_that_repeat"] == 0
    assert 0 < trained["n_prompts"] < metrics["contamination"]["n_prompts"]
    gate = read_document(root, "gate")
    assert (metrics["gate_passed"], metrics["gate_reasons"]) == (gate["passed"], gate["reasons"])


def test_demonstrations_are_computed_once(root: Path) -> None:
    costs = read_document(root, "policy_verdicts_metrics")
    assert costs["prompted"]["cost"]["tokens"] == costs["base"]["cost"]["tokens"]
    verdicts = read_latest(root, "hhh_verdicts")
    scores = {
        name: [row["score_chosen"] for row in verdicts if row["model"] == name]
        for name in ("base", "prompted")
    }
    assert scores["base"] != scores["prompted"]


def test_figures_are_those_of_the_rows(root: Path, metrics: dict[str, Any]) -> None:
    for name in ("hhh", "hhh_likelihood", "hhh_per_token", "mc1"):
        rows = [row for row in read_latest(root, f"{name}_verdicts") if row["model"] == "rl"]
        found = metrics[name]["models"]["rl"]
        assert found["accuracy"]["value"] == sum(row["hit"] for row in rows) / len(rows)
    votes = [row for row in read_latest(root, "judge_votes") if row["model_a"] == "rl"]
    wins = [row["verdict"] for row in votes if row["model_b"] == "base"]
    card = metrics["questions"]["cards"]["rl-vs-base"]
    assert card["n_questions"] == len(wins) == 4
    assert card["win"]["value"] == wins.count("win") / 4


def test_implicit_rewards_are_what_training_added_to_log_probabilities(
    root: Path, metrics: dict[str, Any]
) -> None:
    likelihoods = {
        (row["model"], row["item_id"]): (row["score_chosen"], row["score_rejected"])
        for row in read_latest(root, "hhh_likelihood_verdicts")
    }
    rows = read_latest(root, "preference_verdicts")
    of_rl = [row for row in rows if (row["set"], row["model"]) == ("hhh", "rl")]
    assert len(of_rl) == 8
    for row in of_rl:
        rl, base = (likelihoods[name, row["item_id"]] for name in ("rl", "base"))
        assert row["score_right"] == rl[0] - base[0]
        assert row["score_wrong"] == rl[1] - base[1]
    # Training changes something, if little: no policy is the base.
    assert any(row["score_right"] for row in of_rl)
    held_out = read_latest(root, "held_out_scores")
    assert metrics["preferences"].keys() == {"hhh", "held_out"}
    for name, n in (("hhh", 8), ("held_out", len(held_out))):
        found = metrics["preferences"][name]
        assert (found["n"], found["models"].keys()) == (n, {*REWARD_MODELS, "sft", "rl"})
        hits = [r["hit"] for r in rows if (r["set"], r["model"]) == (name, "sft")]
        assert found["models"]["sft"]["accuracy"]["value"] == sum(hits) / n
    prompts = {row["prompt_id"] for row in held_out}
    assert metrics["preferences"]["held_out"]["n_prompts"] == len(prompts)
    # The reward models' own figures are not other ones here.
    hhh = metrics["hhh"]["models"]["reward_model"]["accuracy"]["value"]
    found = metrics["preferences"]["hhh"]["models"]["reward_model"]
    assert found["accuracy"]["value"] == hhh


@pytest.mark.slow
def test_a_set_of_the_users_is_judged_by_all_and_the_rest_stays(
    project: Path, root: Path, metrics: dict[str, Any], tmp_path: Path
) -> None:
    """One subset of best of 4, and one in which the longer answer is always right."""
    file = tmp_path / "mine.jsonl"
    four = {"prompt": "Why?", "chosen": ["Because."], "rejected": ["No.", "So.", "Ask."]}
    rows = [
        *({"subset": "four", **four, "prompt": f"Why {number}?"} for number in range(3)),
        *({"subset": "long", "prompt": "Hm?", "chosen": "x" * n, "rejected": "y"} for n in (5, 9)),
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    before = list_work(root)
    done = run_pipeline(project, root, "evaluation", f"evaluation.preferences.mine={file}")
    assert done.returncode == 0, done.stderr
    # Work for other sets is taken as it is: new are one job of three models and of two readers.
    new = list_work(root).keys() - before.keys()
    assert len([name for name in new if "/logprobs-" in name]) == 3
    assert len([name for name in new if "/rewards-" in name]) == 2
    found = read_document(root, "evaluation_metrics")
    mine = found["preferences"].pop("mine")
    assert found["preferences"] == metrics["preferences"]
    assert (mine["n"], mine["n_prompts"], mine["source"]["location"]) == (5, 4, str(file))
    floors = {
        name: {subset: each["accuracy"]["value"] for subset, each in judge["by_category"].items()}
        for name, judge in mine["floors"].items()
    }
    assert floors == {
        "chance": {"four": 0.25, "long": 0.5},
        "longer_wins": {"four": 1.0, "long": 1.0},
        "shorter_wins": {"four": 0.0, "long": 0.0},
    }
    assert mine["models"].keys() == {*REWARD_MODELS, "sft", "rl"}
    page = sorted(root.glob("08_reporting/report.html/*/report.html"))[-1].read_text()
    assert f"mine: 5 items of 4 prompts ({file})" in page
    rows = [row for row in read_latest(root, "preference_verdicts") if row["set"] == "mine"]
    done = kedro(
        project, "trace", rows[0]["verdict_id"], "--env", "smoke", "--params", f"data_root={root}"
    )
    assert done.returncode == 0, done.stderr
    for text in ("preference_items", "fingerprint", "Why 0?"):
        assert text in done.stdout


def test_models_that_answer_are_compared_by_a_judge_that_says_what_it_is(
    root: Path, metrics: dict[str, Any]
) -> None:
    questions = metrics["questions"]
    assert questions["models"].keys() == set(POLICIES)
    assert questions["judge"].startswith("held-out reward model; it comes from the same synthetic")
    assert len(read_latest(root, "open_answers")) == 4 * 4
    assert {"sft-vs-prompted", "rl-vs-prompted"} <= questions["cards"].keys()


def test_the_end_of_a_run_shows_all_models(root: Path) -> None:
    log = (root / "log").read_text()
    for line in (
        "HHH (8 pairs)",
        "HHH per token (8 pairs)",
        "longer wins",
        "held out reward model",
        "right answer preferred in held_out",
        "judge of the answers: ",
    ):
        assert line in log
    page = sorted(root.glob("08_reporting/report.html/*/report.html"))[0].read_text()
    for text in ("HHH by likelihood, 8 pairs", "hhh: 8 items of", "held out: "):
        assert text in page


def test_an_answer_and_a_vote_are_traced_to_their_question(project: Path, root: Path) -> None:
    vote = read_latest(root, "judge_votes")[-1]
    done = kedro(
        project, "trace", vote["vote_id"], "--env", "smoke", "--params", f"data_root={root}"
    )
    assert done.returncode == 0, done.stderr
    models = ("base, fingerprint", "held_out_reward_model, fingerprint")
    for found in ("open_answers", "open_questions", *models):
        assert found in done.stdout


def test_a_second_run_computes_nothing_anew(
    project: Path, root: Path, metrics: dict[str, Any]
) -> None:
    before = list_work(root)
    done = run_pipeline(project, root, "evaluation")
    assert done.returncode == 0, done.stderr
    assert list_work(root) == before
    costs = read_document(root, "open_answers_metrics")["cost"]
    # One model answers twice, with and without demonstrations.
    assert costs.keys() == {"base+prompted", "sft", "rl"}
    assert [found["requests_generated"] for found in costs.values()] == [0] * len(costs)
    assert read_document(root, "evaluation_metrics") == metrics


@pytest.mark.slow
def test_what_is_computed_again_is_the_same_to_the_digit(
    project: Path, root: Path, metrics: dict[str, Any]
) -> None:
    shutil.rmtree(root / "04_feature")
    for folder in root.glob("06_models/work/rewards-*"):
        shutil.rmtree(folder)
    done = run_pipeline(project, root, "evaluation")
    assert done.returncode == 0, done.stderr
    assert read_document(root, "evaluation_metrics") == metrics


@pytest.mark.slow
def test_an_evaluation_killed_at_random_moments_goes_on(
    project: Path, aligned: Path, root: Path, metrics: dict[str, Any], tmp_path: Path
) -> None:
    killed = Path(shutil.copytree(aligned, tmp_path / "data"))
    draw = random.Random(5)
    seconds = float((root / "seconds").read_text())
    finished: dict[str, int] = {}
    for _ in range(3):
        session = subprocess.Popen(
            make_command("run", *make_options(killed, "evaluation")),
            cwd=project,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        with contextlib.suppress(subprocess.TimeoutExpired):
            session.wait(seconds * draw.uniform(0.3, 0.9))
        session.kill()
        session.wait()
        finished |= find_work(killed)
    assert finished
    done = run_pipeline(project, killed, "evaluation")
    assert done.returncode == 0, done.stderr
    assert finished.items() <= find_work(killed).items()
    # A program that goes on has its numbers elsewhere in memory: their last digits may differ.
    found, expected = (
        dict(list_leaves(each)) for each in (read_document(killed, "evaluation_metrics"), metrics)
    )
    assert found.keys() == expected.keys()
    for place, value in expected.items():
        near = pytest.approx(value, rel=1e-6) if isinstance(value, float) else value
        assert found[place] == near, place


def list_leaves(document: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """What stands in a document, by where it stands."""
    entries = document.items() if isinstance(document, dict) else enumerate(document)
    for key, value in entries:
        if isinstance(value, (dict, list)) and value:
            yield from list_leaves(value, f"{place}/{key}")
        else:
            yield f"{place}/{key}", value


@pytest.mark.slow
def test_a_benchmark_of_another_format_is_named_by_its_line(
    project: Path, root: Path, tmp_path: Path
) -> None:
    own = (project / "assets/benchmarks/open_questions.jsonl").read_text().splitlines()
    file = tmp_path / "questions.jsonl"
    file.write_text("\n".join([*own[:2], json.dumps({"question_id": 3, "turns": ["Why?"]})]))
    for name, data in (("evaluation", root), ("__default__", tmp_path / "data")):
        done = run_pipeline(project, data, name, f"evaluation.questions={file}")
        assert f"{file}, line 3: text is missing" in refuse(done)
    assert not list(tmp_path.glob("data/03_primary/prompt*"))


@pytest.mark.slow
def test_a_missing_checkpoint_is_one_clear_line(project: Path, root: Path, tmp_path: Path) -> None:
    policy = root / "06_models/rl_policy"
    policy.rename(tmp_path / "rl_policy")
    try:
        line = refuse(run_pipeline(project, root, "evaluation"))
    finally:
        (tmp_path / "rl_policy").rename(policy)
    assert "rl_policy" in line


def test_a_policy_of_another_parent_is_refused(project: Path, root: Path) -> None:
    manifest = find_versions(root, "rl_policy")[-1] / "manifest.json"
    text = manifest.read_text()
    found = json.loads(text)
    found["base"]["fingerprint"] = "0" * 64
    manifest.write_text(json.dumps(found))
    try:
        line = refuse(run_pipeline(project, root, "evaluation"))
    finally:
        manifest.write_text(text)
    assert "rl_policy was trained from sft_policy" in line
    assert "run `kedro run --pipeline rl`" in line


def test_a_model_on_a_server_judges_what_the_embedded_engine_answered(
    project: Path, root: Path, metrics: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALMOST_KEDRO_API_KEY", "sk-critic-secret")
    with serve(prefer_longer) as server:
        server.key = "sk-critic-secret"
        params = {
            "models": {"critic": {"source": "server", "id": "org/critic", "chat": True}},
            "generation": {"servers": [{"url": server.url, "model": "critic", "key": "default"}]},
            "evaluation": {"judge": "critic"},
        }
        run_smoke(project, root, params, pipeline_names=["evaluation"])
    votes = read_latest(root, "judge_votes")
    assert len(votes) == 2 * 6 * 4
    # Equal answers make one request of both orders.
    assert len(server.bodies) == len(set(server.asked))
    assert {(v["valid"], v["review"].split("\n")[0]) for v in votes} <= {
        (True, scores) for scores in ("8 5", "5 8", "6 6")
    }
    found = read_document(root, "evaluation_metrics")
    questions = found["questions"]
    assert questions["judge"] == "critic (org/critic@main, asked by chat)"
    assert questions["judge_model"] == {
        "critic": {
            "fingerprint": "server:org/critic@main/chat",
            "id": "org/critic",
            "revision": "main",
            "chat": True,
        }
    }
    assert {card["flip_rate"]["value"] for card in questions["cards"].values()} == {0}
    for name in ("hhh", "mc1", "models"):
        assert found[name] == metrics[name]


@pytest.mark.slow
def test_a_model_of_this_machine_judges_and_says_what_its_word_is_worth(
    project: Path, root: Path
) -> None:
    done = run_pipeline(project, root, "evaluation", "evaluation.judge=tiny-large")
    assert done.returncode == 0, done.stdout + done.stderr
    cards = read_document(root, "judge_cards")
    worth = f"right in {show_share(cards['worth']['accuracy'])} of {cards['worth']['n']} HHH pairs"
    said = f"tiny-large (asked for a letter in plain text), {worth}"
    assert said in done.stdout + done.stderr
    report = sorted(root.glob("08_reporting/report.html/*/report.html"))[-1].read_text()
    assert said in report
    assert {vote["order"] for vote in read_latest(root, "judge_votes")} == {"a_first", "b_first"}
