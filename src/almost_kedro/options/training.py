"""Options from the comparisons to the aligned policy, explained where they are defined."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from almost_kedro.options.block import Block, MaxRepetition, Positive, Share


class PromptSplitOptions(Block):
    """Shares of the prompts; each prompt is used for one thing only. Together they are 1."""

    reward_model: Share = Field(description="Answered and compared; trains the reward model")
    held_out: Share = Field(description="Answered and compared; both reward models are tested here")
    held_out_reward_model: Share = Field(
        description="Answered and compared; trains the held-out reward model, nothing else"
    )
    self_play: Share = Field(description="Start dialogues of self-play, which train the SFT policy")
    rl: Share = Field(description="Answered by the policy during reinforcement learning")
    watch: Share = Field(description="Tell over-optimisation during reinforcement learning")
    policy_test: Share = Field(description="Answered by all policies in the end")

    @model_validator(mode="after")
    def check_sum(self) -> PromptSplitOptions:
        """Refuse shares that do not sum to 1."""
        total = sum(self.model_dump().values())
        if abs(total - 1) > 1e-6:
            raise ValueError(f"the shares sum to {total:.6g}; they must sum to 1")
        return self


class LoraOptions(Block):
    """Low-rank adapters (Hu et al. 2021), trained in place of the weights and merged into them."""

    rank: Positive = Field(16, description="Rank of the change of each weight matrix")
    alpha: float = Field(
        32.0,
        gt=0,
        allow_inf_nan=False,
        description="The change is alpha / rank times the product of the two trained matrices",
    )
    dropout: float = Field(
        0.0, ge=0, lt=1, description="Share of what adapters read that is dropped; 0 in rl and dpo"
    )
    targets: Literal["all-linear"] | Annotated[list[str], Field(min_length=1)] = Field(
        "all-linear",
        description="Names of the linear layers that are changed (q_proj, v_proj); all-linear: "
        "all in the blocks",
    )
    load_in_4bit: bool = Field(
        False,
        # Not in what identifies a training without it.
        exclude_if=lambda load_in_4bit: not load_in_4bit,
        description="Hold the weights of these layers in 4 bits while training (QLoRA; pip install "
        "'.[qlora]'); adapters are merged into the weights as they were",
    )


class TrainingOptions(Block):
    """What every training program has."""

    learning_rate: float = Field(gt=0, description="Peak; a cosine leads to 0")
    weight_decay: float = Field(0.0, ge=0, description="AdamW's")
    warmup_share: float = Field(
        0.03, ge=0, lt=1, description="Share of the steps that warm up, the first one from above 0"
    )
    batch_size: Positive = Field(description="Rows that a rank computes at once")
    accumulation: Positive = Field(1, description="Batches a step")
    gradient_checkpointing: bool = Field(
        False, description="Compute activations twice instead of keeping them"
    )
    save_every: Positive = Field(50, description="Steps between checkpoints to resume from")
    lora: LoraOptions | None = Field(
        None,
        # Not in what identifies a training without it.
        exclude_if=lambda lora: lora is None,
        description="Train low-rank adapters and not the weights (pip install '.[lora]'); null: no",
    )

    @property
    def rank(self) -> int:
        """The rank of the adapters; 0 where the weights are trained."""
        return self.lora.rank if self.lora else 0

    @property
    def in_4bit(self) -> bool:
        """Whether weights lie there in 4 bits while adapters are trained."""
        return self.lora is not None and self.lora.load_in_4bit


class SelfPlayOptions(Block):
    """Self-play guided by the reward model (rule 24)."""

    candidates: Annotated[int, Field(ge=2)] = Field(4, description="Answers a turn")
    turns: Positive = Field(2, description="Most answers a dialogue")
    temperature: float = Field(1.0, ge=0, description="Divides the logits")
    top_p: Share = Field(0.9, description="Mass of the nucleus")
    max_new_tokens: Positive = Field(384, description="Token limit of an answer")
    max_repetition: MaxRepetition = None
    user_demonstrations: str = Field("User", description="X for assets/X_prompt.txt")
    user_shots: Positive = Field(3, description="Dialogues shown to the simulated user")
    user_max_new_tokens: Positive = Field(64, description="Token limit of a question")


class SFTOptions(TrainingOptions):
    """Supervised fine-tuning on the kept answers (rule 22)."""

    model: str = Field(description="Name in models.yml of what it starts from")
    epochs: Positive = Field(3, description="Passes over the demonstrations")
    max_length: Positive = Field(512, description="Tokens; longer dialogues lose their beginning")


class WithoutDropout(TrainingOptions):
    """Training that compares the policy with what it began as, which dropout would change."""

    @field_validator("lora")
    @classmethod
    def check_dropout(cls, lora: LoraOptions | None) -> LoraOptions | None:
        """Refuse dropout in adapters."""
        if lora and lora.dropout:
            raise ValueError(
                f"lora.dropout is {lora.dropout:g}; set it to 0: with dropout, a policy differs "
                "from itself"
            )
        return lora


class WatchOptions(Block):
    """When reinforcement learning stops by itself and the best checkpoint is kept."""

    every: Positive = Field(10, description="Steps between scores by the held-out reward model")
    patience: Positive = Field(
        2, description="Scores in a row below the best, while the training reward rises"
    )
    max_kl: float = Field(30.0, gt=0, description="Largest mean KL of an answer, in nats")
    max_length_ratio: float = Field(
        2.0, gt=1, description="Largest mean length of answers, as a multiple of the first one"
    )


class RLOptions(WithoutDropout):
    """Reinforcement learning (rule 23); the numbers are ours, the paper published none."""

    algorithm: Literal["rloo", "grpo"] = Field("rloo", description="TRL's trainer")
    steps: Positive = Field(description="Steps at most")
    generations: Annotated[int, Field(ge=2)] = Field(4, description="Answers a prompt")
    beta: float = Field(
        0.05,
        ge=0,
        description="Weight of the KL penalty to the SFT policy; at 0 no KL is measured, and "
        "watch.max_kl never acts",
    )
    temperature: float = Field(1.0, gt=0, description="Divides the logits")
    top_p: Share = Field(1.0, description="Mass of the nucleus; below 1 the KL is off by the cut")
    max_new_tokens: Positive = Field(description="Token limit of an answer")
    max_length: Positive = Field(512, description="Tokens of a prompt; the beginning is cut")
    watch: WatchOptions = Field(default_factory=lambda: WatchOptions.model_validate({}))
    vllm_server: str | None = Field(
        None, description="URL of `trl vllm-serve` for rollouts, on GPUs only; untested"
    )


class DPOWatchOptions(Block):
    """When DPO stops by itself, the best checkpoint kept; and how answers are drawn for that."""

    every: Positive = Field(10, description="Steps between scores by the held-out reward model")
    patience: Positive = Field(
        2, description="Scores in a row below the best, while the margin of training rises"
    )
    max_length_ratio: float = Field(
        2.0, gt=1, description="Largest mean length of answers, as a multiple of the first one"
    )
    temperature: float = Field(0.7, gt=0, description="Divides the logits")
    top_p: Share = Field(1.0, description="Mass of the nucleus")
    max_new_tokens: Positive = Field(64, description="Token limit of an answer")


class DPOOptions(WithoutDropout):
    """Direct preference optimisation on the reward model's comparisons (pipeline dpo)."""

    model: str | None = Field(
        None, description="Name in models.yml of what it starts from; null, or as sft.model"
    )
    epochs: Positive = Field(1, description="Passes over the comparisons")
    max_length: Positive = Field(1024, description="Tokens; longer texts lose their beginning")
    beta: float = Field(
        0.1, gt=0, description="Factor of the log-ratios; the higher, the nearer to the base"
    )
    watch: DPOWatchOptions = Field(default_factory=lambda: DPOWatchOptions.model_validate({}))

    @model_validator(mode="after")
    def check_lengths(self) -> DPOOptions:
        """Refuse answers to watch prompts that leave no room for the prompts."""
        if self.watch.max_new_tokens >= self.max_length:
            raise ValueError(
                f"watch.max_new_tokens is {self.watch.max_new_tokens}, which leaves nothing of "
                f"max_length ({self.max_length}) for a prompt; lower it"
            )
        return self


class PolicyTestOptions(Block):
    """How policies answer the test prompts."""

    temperature: float = Field(0.7, ge=0, description="Divides the logits")
    top_p: Share = Field(0.9, description="Mass of the nucleus")
    max_new_tokens: Positive = Field(384, description="Token limit of an answer")
