"""The chat program beside the test of policies: the same answers, the same rewards."""

from pathlib import Path

import pytest
from made_rows import make_prompt
from option_values import make_options, make_workplace

from almost_kedro.contract import ModelFolder
from almost_kedro.feedback.responses import response_sampling
from almost_kedro.feedback.self_play import build_dialogue
from almost_kedro.jobs.chat import make_chat_job, open_chat
from almost_kedro.jobs.policies import Policy, answer_test_prompts, checkpoint_policy
from almost_kedro.jobs.reward_models import make_judges
from almost_kedro.models.checkpoints import Checkpoint, check_checkpoint

QUESTIONS = ("Why is the sky blue?", "Who are you?", "Füße 你好 🙂?", "1 + 1 = ")
# As close as padding and batches leave rewards.
TOLERANCE = 1e-5


def load(root: Path, name: str) -> Checkpoint:
    [*_, newest] = sorted(root.glob(f"06_models/{name}/*/{name}"))
    return check_checkpoint(newest)


@pytest.mark.slow
def test_a_chat_gets_the_answers_and_rewards_of_the_test_of_policies(
    aligned: Path, tiny_models: dict[str, Path], tmp_path: Path
) -> None:
    # The original rules leave something of each answer, though a random model ends no sentence.
    options = make_options(
        rules="original",
        generation={"dtype": "float32"},
        launch={"dtype": "float32"},
        policy_test={"max_new_tokens": 60},
    )
    workplace = make_workplace(tmp_path)
    tiny = ModelFolder(name="tiny", folder=tiny_models["tiny-large"], fingerprint="tiny")
    policies = [
        Policy("base", tiny),
        Policy("prompted", tiny, "Two talk.\n\nHuman: Hi.\n\nAssistant: Hello."),
        checkpoint_policy("sft", load(aligned, "sft_policy"), None),
    ]
    reward_models = (load(aligned, "reward_model"), load(aligned, "held_out_reward_model"))
    judges = make_judges(reward_models, options, workplace)
    prompts = [make_prompt(f"p{n}", text) for n, text in enumerate(QUESTIONS)]
    expected, _ = answer_test_prompts(policies, prompts, judges, options, workplace)
    assert sum(len(row["text"]) > 10 for row in expected) > len(expected) / 2

    test = options.policy_test
    sampling = response_sampling(test, test.max_new_tokens, options.rules, options.seed)
    with open_chat(make_chat_job(policies, judges, sampling, options)) as chat:
        for row in expected:
            question = QUESTIONS[int(row["prompt_id"][1:])]
            pieces: list[str] = []
            dialogue = build_dialogue([], question, options.rules)
            answer = chat.ask(row["policy"], dialogue, True, pieces.append)
            assert answer["text"] == row["text"] == "".join(pieces)
            assert answer["finish_reason"] == row["finish_reason"]
            assert answer["n_tokens"] == row["n_tokens"]
            rewards = [row["reward"], row["held_out_reward"]]
            assert answer["rewards"] == pytest.approx(rewards, abs=TOLERANCE)
