"""The chain as data: how the policy is trained, stage by stage, and which models are compared.

A new stage is a new record here, beside its pipeline, options and datasets.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

# The model that training starts from, and the best prompted assistant.
BASE, PROMPTED = "base", "prompted"
# That assistant's best of several answers by the reward model: nothing but that one is trained.
BEST_OF_N = "best_of_n"
# A new model, and an old one that it is compared with.
Pair = tuple[str, str]


@dataclass(frozen=True)
class Stage:
    """A training of the policy.

    Attributes:
        name: The policy's name. The names of its datasets begin with it.
        pipeline: Trains and tests it.
        title: The training, in words.
        base: The model that it starts from.
        base_title: That model, in words.
        tested_with: Models that it is compared with on the test prompts.
        compared_with: Models that it is compared with on benchmarks.
        remedy: Advice if it does not gain.
        takes: Documents with the costs of all that its training takes, from comparisons on.
        by_reward: Whether it learns from the reward model itself.
        watched: Whether a watch may stop it.
    """

    name: str
    pipeline: str
    title: str
    base: str
    base_title: str
    tested_with: tuple[str, ...]
    compared_with: tuple[str, ...]
    remedy: str
    takes: tuple[str, ...]
    by_reward: bool = False
    watched: bool = False

    @property
    def policy(self) -> str:
        """The dataset of its checkpoint."""
        return f"{self.name}_policy"

    @property
    def metrics(self) -> str:
        """The dataset of its rewards on the test prompts."""
        return f"{self.policy}_metrics"

    @property
    def training(self) -> str:
        """The dataset of its training's cost."""
        return f"{self.policy}_training_metrics"

    @property
    def curve(self) -> str:
        """The dataset of its training curve."""
        return f"{self.policy}_training_plot"

    @property
    def watch(self) -> str:
        """The dataset of its watch's scores, drawn, if it is watched."""
        return f"{self.name}_watch_plot"

    @property
    def answers(self) -> str:
        """The dataset of its answers to the test prompts."""
        return f"{self.name}_answers"

    @property
    def reported(self) -> tuple[str, ...]:
        """All that the report shows of it, by dataset."""
        return (self.training, self.metrics, self.curve, self.watch, self.answers)

    @property
    def how_to_train(self) -> str:
        """Advice if its policy is of other data."""
        return f"run `kedro run --pipeline {self.pipeline}` with these options first"

    def pair_with(self, models: tuple[str, ...]) -> list[Pair]:
        """Pair it with each of these models."""
        return [(self.name, model) for model in models]


SFT = Stage(
    name="sft",
    pipeline="rmsp_sft",
    title="supervised fine-tuning",
    base=BASE,
    base_title="base model",
    tested_with=(BASE, PROMPTED),
    compared_with=(BASE, PROMPTED),
    remedy="More dialogues (prompt_splits.self_play), or more training (sft.epochs, "
    "sft.learning_rate).",
    takes=(
        "reward_model_training_metrics",
        "self_play_costs_metrics",
        "sft_policy_training_metrics",
    ),
)
RL = Stage(
    name="rl",
    pipeline="rl",
    title="reinforcement learning",
    base=SFT.name,
    base_title="SFT policy",
    tested_with=(SFT.name,),
    compared_with=(SFT.name, BASE),
    remedy="Train longer (rl.steps) or faster (rl.learning_rate), on more prompts.",
    takes=(*SFT.takes, "rl_policy_training_metrics"),
    by_reward=True,
    watched=True,
)
DPO = Stage(
    name="dpo",
    pipeline="dpo",
    title="direct preference optimisation",
    base=BASE,
    base_title="base model",
    tested_with=(BASE, PROMPTED),
    compared_with=(BASE, SFT.name, RL.name),
    remedy="Train longer (dpo.epochs) or faster (dpo.learning_rate), on more prompts.",
    takes=("dpo_policy_training_metrics",),
    watched=True,
)
# In the order of the chain.
STAGES = (SFT, RL)
# Run by name only, and beside the chain: no other stage starts from them.
APART = (DPO,)
TRAINED = (*STAGES, *APART)

# The policies of the chain, which a whole run evaluates; then all that may be there.
POLICIES = (BASE, PROMPTED, *(stage.name for stage in STAGES))
NAMES = (*POLICIES, *(stage.name for stage in APART))
# Who is compared on benchmarks, where both are there.
COMPARED = [
    (PROMPTED, BASE),
    *(pair for stage in TRAINED for pair in stage.pair_with(stage.compared_with)),
]
# Whose answers the judge compares, where both are there.
JUDGED = [
    *((stage.name, model) for stage in STAGES for model in dict.fromkeys((stage.base, BASE))),
    *((stage.name, PROMPTED) for stage in STAGES),
    (PROMPTED, BASE),
    *((stage.name, model) for stage in APART for model in (*stage.compared_with, PROMPTED)),
]


def list_judged(names: Collection[str]) -> list[Pair]:
    """Return the pairs of `JUDGED` of which both models are among the names."""
    return [pair for pair in JUDGED if set(pair) <= set(names)]
