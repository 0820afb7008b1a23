"""Every option of the project, explained where it is defined; the YAML files only set values."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from almost_kedro.errors import UserError
from almost_kedro.options.block import Block, Positive
from almost_kedro.options.evaluation import HELD_OUT, EvaluationOptions
from almost_kedro.options.feedback import (
    ComparisonOptions,
    PromptGenerationOptions,
    ResponseGenerationOptions,
)
from almost_kedro.options.generation import GenerationOptions
from almost_kedro.options.launch import LaunchOptions
from almost_kedro.options.models import Models, ServerModel
from almost_kedro.options.reward_model import (
    AsIsFilterOptions,
    GateOptions,
    RewardModelsOptions,
)
from almost_kedro.options.rules import Rules
from almost_kedro.options.training import (
    DPOOptions,
    PolicyTestOptions,
    PromptSplitOptions,
    RLOptions,
    SelfPlayOptions,
    SFTOptions,
)


class Options(Block):
    """All parameters of an environment."""

    data_root: str = Field(description="Folder of everything that this environment makes")
    assets_root: str = Field(description="Folder of seed_prompts.txt and *_prompt.txt")
    mlflow_uri: str | None = Field(None, description="MLflow server; null: SQLite in data_root")
    seed: int = Field(0, description="Start of every random stream")
    rules: Rules = Field("corrected", description="The paper's released code, or its bugs mended")
    dialogue: Literal["plain", "chat_template"] = Field(
        "plain",
        description="How reward models and policies read a dialogue: as the plain text that "
        "assistants with demonstrations continue, or by the chat template of the model that they "
        "are trained from (for instruct models)",
    )
    models: Models
    generation: GenerationOptions
    prompt_generation: PromptGenerationOptions
    response_generation: ResponseGenerationOptions
    comparisons: ComparisonOptions
    prompt_splits: PromptSplitOptions
    launch: LaunchOptions
    as_is_filter: AsIsFilterOptions = Field(default_factory=AsIsFilterOptions)
    reward_model: RewardModelsOptions
    reward_model_seeds: Positive = Field(
        1,
        description="Reward models trained on the same rows with seeds of their own, to see how "
        "far chance moves the accuracy; only the first is used",
    )
    gate: GateOptions
    self_play: SelfPlayOptions
    sft: SFTOptions
    rl: RLOptions
    dpo: DPOOptions
    policy_test: PolicyTestOptions
    evaluation: EvaluationOptions = Field(default_factory=EvaluationOptions)
    contrasts: dict[str, list[str]] = Field(
        default_factory=dict,
        description="Assistants, best first, by a name of yours (pipeline contrasts, and "
        "reward_model.ensemble)",
    )

    @property
    def judge_kind(self) -> Literal["rewards", "reviews", "letters"]:
        """How the judge of the open questions says which answer is better."""
        if self.evaluation.judge == HELD_OUT:
            return "rewards"
        entry = self.models.root[self.evaluation.judge]
        return "reviews" if isinstance(entry, ServerModel) else "letters"

    @model_validator(mode="after")
    def check_models_are_known(self) -> Options:
        """Refuse a model name that models.yml does not have."""
        uses = {"prompt_generation.model": self.prompt_generation.model}
        for number, assistant in enumerate(self.response_generation.assistants):
            uses[f"response_generation.assistants.{number}.model"] = assistant.model
        served = {
            f"generation.servers.{number}.model": server.model
            for number, server in enumerate(self.generation.servers)
        }
        trained = {"reward_model.model": self.reward_model.model, "sft.model": self.sft.model}
        if self.dpo.model is not None:
            trained["dpo.model"] = self.dpo.model
        judge = {"evaluation.judge": self.evaluation.judge}
        if self.evaluation.judge == HELD_OUT:
            judge = {}
        for option, name in {**uses, **served, **trained, **judge}.items():
            if name not in self.models.root:
                raise ValueError(
                    f"{option}: unknown model {name!r}; "
                    f"models.yml has {', '.join(self.models.root)}"
                )
        for option, name in uses.items():
            self._check_engine_has(option, name)
        for option, name in trained.items():
            if isinstance(self.models.root[name], ServerModel):
                raise ValueError(
                    f"{option}: {name!r} is only on servers (models.yml); name a model that can be "
                    "trained here"
                )
        for option, name in judge.items():
            if self.judge_kind == "reviews":
                self._check_served(option, name)
        return self

    @model_validator(mode="after")
    def check_seeds_of_contrasts(self) -> Options:
        """Refuse other seeds of reward models that each have rows of their own."""
        if self.reward_model.contrasts and self.reward_model_seeds > 1:
            raise ValueError(
                f"reward_model_seeds: {self.reward_model_seeds} trainings on the same rows are "
                "wanted, but those of reward_model.ensemble have a contrast each; set it to 1"
            )
        return self

    @model_validator(mode="after")
    def check_rl_groups(self) -> Options:
        """Refuse steps of reinforcement learning that can't hold whole groups of answers."""
        rows = self.rl.batch_size * self.rl.accumulation * self.launch.processes * self.launch.nodes
        if rows % self.rl.generations:
            raise ValueError(
                f"rl.generations: a step has batch_size x accumulation x ranks = {rows} answers, "
                f"which is no multiple of {self.rl.generations}"
            )
        return self

    def _check_engine_has(self, option: str, name: str) -> None:
        """Refuse a model that the engine can't run."""
        if self.generation.engine == "openai":
            self._check_served(option, name)
        elif isinstance(self.models.root[name], ServerModel):
            raise ValueError(
                f"{option}: {name!r} is only on servers (models.yml), but generation.engine is "
                f"{self.generation.engine}; set it to openai"
            )

    def _check_served(self, option: str, name: str) -> None:
        """Refuse a model that no server has."""
        if name not in {server.model for server in self.generation.servers}:
            raise ValueError(
                f"generation.servers: none has the model {name!r} of {option}; "
                f"add {{url: http://host:8000/v1, model: {name}}}"
            )


def check_options(parameters: dict[str, Any]) -> Options:
    """Read the parameters; raise UserError with name, value and remedy of the first bad option."""
    try:
        return Options.model_validate(parameters)
    except ValidationError as exc:
        error = exc.errors()[0]
    where = list(error["loc"])
    if where[:1] == ["models"]:
        del where[2:3]  # pydantic's name of the kind of model
    if where[:2] == ["comparisons", "rubric"] and len(where) > 3:
        raise UserError(
            f"option comparisons.rubric.{where[2]}: give a name or a list of names; "
            f"found {error['input']!r:.80}"
        )
    if where[:2] == ["reward_model", "ensemble"] and len(where) > 2:  # pydantic's names of kinds
        raise UserError(
            "option reward_model.ensemble: give a whole number above 0, or names of contrasts; "
            f"found {error['input']!r:.80}"
        )
    name = ".".join(map(str, where))
    if error["type"] == "extra_forbidden":
        raise UserError(f"option {name}: there is no such option; check the spelling")
    if error["type"] == "missing":
        raise UserError(
            f"option {name}: missing; set it in conf/<env>/, in parameters*.yml or models.yml"
        )
    if not name:
        raise UserError("option " + error["msg"].removeprefix("Value error, "))
    reason = error["msg"].removeprefix("Value error, ")
    if where[-1] == "url":  # it may be wrong because of a password in it
        raise UserError(f"option {name}: {reason}")
    raise UserError(f"option {name}: {reason}; found {error['input']!r:.80}")
