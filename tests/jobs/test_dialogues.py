"""Dialogues of two turns, played by the default model and chosen by a real reward model."""

import shutil
from pathlib import Path

import pytest
from made_rows import make_assistant, make_prompt
from option_values import make_options, make_workplace

from almost_kedro.contract import ModelFolder
from almost_kedro.feedback.responses import build_prefix
from almost_kedro.feedback.self_play import build_dialogue, list_turns, make_demonstrations
from almost_kedro.jobs.self_play import Player, play_dialogues
from almost_kedro.models.builder import draw_tiny_llama
from almost_kedro.rows.training import Candidate
from almost_kedro.training.job import ScoreJob

pytestmark = pytest.mark.slow

PROMPTS = [
    make_prompt(f"p{i}", text)
    for i, text in enumerate(
        ("How do I boil an egg?", "Why is the sky blue?", "What is a good name for a cat?")
    )
]


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    """A random reward model: what it prefers does not matter here, that it is obeyed does."""
    from transformers import AutoModelForSequenceClassification

    folder = tmp_path_factory.mktemp("judge")
    draw_tiny_llama(folder / "base", 1, 32, seed=0)
    model = AutoModelForSequenceClassification.from_pretrained(folder / "base", num_labels=1)
    shutil.copytree(folder / "base", folder / "judge")
    model.save_pretrained(folder / "judge")
    return ModelFolder(name="judge", folder=folder / "judge", fingerprint="random")


@pytest.fixture(scope="module")
def player(
    project: Path, smollm2: Path, judge: ModelFolder, tmp_path_factory: pytest.TempPathFactory
) -> Player:
    work = tmp_path_factory.mktemp("work")
    score = ScoreJob(
        model=judge,
        rows=work,
        rows_sha256="",
        separator=" ",
        max_length=2048,
        dtype="float32",
        out=work,
    )
    demonstrations = (project / "assets/HHH_prompt.txt").read_text()
    users = (project / "assets/User_prompt.txt").read_text()
    return Player(
        assistant=make_assistant(
            "smollm2-135m-HHH-1shot",
            model="smollm2-135m",
            prefix=build_prefix(demonstrations, "HHH", 1, "corrected"),
        ),
        user_prefix=build_prefix(users, "User", 1, "corrected"),
        model=ModelFolder(name="smollm2-135m", folder=smollm2, fingerprint="default"),
        options=make_options(
            self_play={
                "candidates": 3,
                "temperature": 0.7,
                "max_new_tokens": 64,
                "user_max_new_tokens": 32,
            }
        ),
        workplace=make_workplace(work),
        judges=(score, score),
    )


@pytest.fixture(scope="module")
def candidates(player: Player) -> list[Candidate]:
    rows, *_ = play_dialogues(PROMPTS, player)
    return rows


@pytest.mark.real
def test_the_user_goes_on_from_the_answer_that_was_kept(candidates: list[Candidate]) -> None:
    by_id = {row["candidate_id"]: row for row in candidates}
    second = [row for row in candidates if row["turn"] == 2]
    assert second
    for row in second:
        parent = by_id[row["parent_id"]]
        assert parent["kept"]
        assert parent["turn"] == 1
        assert parent["prompt_id"] == row["prompt_id"]
        assert row["question"] != parent["question"]


@pytest.mark.real
def test_each_turn_has_its_candidates_and_keeps_the_best_rewarded(
    candidates: list[Candidate],
) -> None:
    turns: dict[tuple[str, int], list[Candidate]] = {}
    for row in candidates:
        turns.setdefault((row["prompt_id"], row["turn"]), []).append(row)
    assert len(turns) > len(PROMPTS)
    for rows in turns.values():
        assert [row["sample"] for row in rows] == [0, 1, 2]
        assert len({row["text"] for row in rows}) > 1
        rewards = [row["reward"] for row in rows if row["reward"] is not None]
        kept = [row["reward"] for row in rows if row["kept"]]
        assert kept == ([max(rewards)] if rewards else [])


@pytest.mark.real
def test_a_demonstration_is_the_whole_dialogue_and_the_kept_answer(
    candidates: list[Candidate],
) -> None:
    by_id = {row["candidate_id"]: row for row in candidates}
    demonstrations = make_demonstrations(candidates, "corrected")
    assert {row["turn"] for row in demonstrations} == {1, 2}
    for row in demonstrations:
        *earlier, (question, answer) = list_turns(by_id[row["candidate_id"]], by_id)
        assert row["dialogue"] == build_dialogue(earlier, question, "corrected")
        assert row["answer"] == answer


@pytest.mark.real
def test_the_same_dialogues_again_are_the_same_and_cost_nothing(
    candidates: list[Candidate], player: Player
) -> None:
    again, _, costs = play_dialogues(PROMPTS, player)
    assert again == candidates
    generating = {name: cost for name, cost in costs.items() if "rewards" not in name}
    assert list(generating) == ["turn 1, answers", "turn 1, questions", "turn 2, answers"]
    assert {cost["requests_generated"] for cost in generating.values()} == {0}
    assert costs.keys() - generating == {"turn 1, rewards", "turn 2, rewards", "held-out rewards"}
