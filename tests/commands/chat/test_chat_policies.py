"""Who answers in a chat, and how."""

from pathlib import Path

import pytest
from kedro.io import DataCatalog, DatasetError, MemoryDataset, Version
from made_rows import make_assistant
from option_values import PARAMETERS, make_options, make_workplace

from almost_kedro.commands.chat.policies import (
    Draw,
    check_names,
    choose_sampling,
    find_assistant,
    find_judges,
)
from almost_kedro.contract import Sampling
from almost_kedro.datasets.checkpoint import CheckpointDataset
from almost_kedro.errors import UserError
from almost_kedro.feedback.responses import STOPS


@pytest.mark.parametrize(
    ("names", "line"),
    [
        (["sfx"], "policy 'sfx': unknown; there are base, prompted, sft, rl, dpo"),
        (["rl", "sft", "rl"], "policy 'rl': named twice; name each policy once"),
        (["rl"] * 5, "5 policies: at most 4 answer side by side; name fewer"),
    ],
)
def test_names_that_can_not_answer_are_one_line(names: list[str], line: str) -> None:
    with pytest.raises(UserError) as raised:
        check_names(names)
    assert str(raised.value) == line


def test_answers_are_drawn_as_the_options_say_unless_the_command_does() -> None:
    options = make_options(seed=3, policy_test={"temperature": 0.5, "max_new_tokens": 7})
    assert choose_sampling(Draw(), options) == Sampling(0.5, 0.9, 7, STOPS, 3)
    draw = Draw(temperature=0.0, top_p=0.5, max_new_tokens=9, seed=0)
    assert choose_sampling(draw, options) == Sampling(0.0, 0.5, 9, STOPS, 0)


def test_a_model_that_only_servers_have_can_not_chat(tmp_path: Path) -> None:
    served = {"source": "server", "id": "org/big"}
    assistants = [
        {"model": "big", "demonstrations": "HHH", "shots": 3},
        {"model": "big", "demonstrations": "HHH", "shots": 1},
    ]
    options = make_options(
        models={**PARAMETERS["models"], "big": served},
        generation={"engine": "openai", "servers": [{"url": "http://host/v1", "model": "big"}]},
        prompt_generation={"model": "big", "n_prompts": 5},
        response_generation={"max_new_tokens": 64, "assistants": assistants},
        comparisons={"rubric": ["big-HHH-3shot", "big-HHH-1shot"]},
    )
    rows = [
        make_assistant("big-HHH-3shot", model="big"),
        make_assistant("big-HHH-1shot", model="big"),
    ]
    catalog = DataCatalog({"assistants": MemoryDataset(rows)})
    with pytest.raises(UserError, match=r"^policy 'prompted': its model 'big' is only on servers"):
        find_assistant(catalog, options, make_workplace(tmp_path))


def test_a_damaged_reward_model_ends_a_chat_only_where_rewards_are_wanted(tmp_path: Path) -> None:
    (tmp_path / "reward_model/1/reward_model").mkdir(parents=True)  # without a manifest
    catalog = DataCatalog(
        {
            name: CheckpointDataset(filepath=str(tmp_path / name), version=Version(None, None))
            for name in ("reward_model", "held_out_reward_model")
        }
    )
    options, workplace = make_options(), make_workplace(tmp_path)
    assert find_judges(catalog, options, workplace, wanted=False) == []
    with pytest.raises(DatasetError, match="incomplete checkpoint"):
        find_judges(catalog, options, workplace, wanted=True)
