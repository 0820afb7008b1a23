"""The rows from the comparisons to the aligned policy, and the checks that the catalog runs."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import with_config
from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

from almost_kedro.contract import FinishReason
from almost_kedro.rows.feedback import Ledger
from almost_kedro.rows.validator import STRICT, RowsValidator

Split = Literal[
    "reward_model",
    "held_out",
    "held_out_reward_model",
    "self_play",
    "rl",
    "watch",
    "policy_test",
    # Repeats a benchmark item; not used.
    "contaminated",
]


@with_config(STRICT)
class PromptSplit(TypedDict):
    """What a prompt is used for; it is never used for anything else."""

    prompt_id: str
    split: Split


@with_config(STRICT)
class AsIsPair(TypedDict):
    """Two answers of which one is known to be better; `pair_id` has its line or row number.

    They come from the user; the as-is reward model is trained on them (rule 25).
    """

    pair_id: str
    prompt: str
    chosen: str
    rejected: str


@with_config(STRICT)
class MismatchedPair(TypedDict):
    """A comparison's chosen answer against an answer to another prompt.

    `rejected_id` is the other prompt's answer, `rejected_prompt_id` that prompt.
    """

    mismatched_id: str
    comparison_id: str
    prompt_id: str
    prompt: str
    chosen: str
    rejected: str
    chosen_id: str
    rejected_id: str
    rejected_prompt_id: str


@with_config(STRICT)
class ScoredComparison(TypedDict):
    """A comparison of a held-out prompt with the rewards of its answers.

    `reward_*` are of the reward model, `held_out_*` of the held-out reward model.
    """

    comparison_id: str
    prompt_id: str
    reward_chosen: float
    reward_rejected: float
    held_out_chosen: float
    held_out_rejected: float


@with_config(STRICT)
class Candidate(TypedDict):
    """One candidate answer of a turn of self-play (rule 24).

    `parent_id` is the candidate kept in the turn before, empty in the first. `question` is the
    prompt, or what the simulated user asked. An answer that rule 12 rejects has no reward. The best
    one of the turn that ends the dialogue is kept, too.
    """

    candidate_id: str
    prompt_id: str
    parent_id: str
    assistant: str
    turn: int
    sample: int
    question: str
    text: str
    finish_reason: FinishReason
    n_tokens: int
    verdict: str
    reward: float | None
    held_out_reward: float | None
    kept: bool


@with_config(STRICT)
class Demonstration(TypedDict):
    """A dialogue up to an answer, and the answer: the policy is trained on it."""

    demonstration_id: str
    prompt_id: str
    candidate_id: str
    turn: int
    dialogue: str
    answer: str


@with_config(STRICT)
class Rollout(TypedDict):
    """An answer that the policy gave during reinforcement learning.

    `completion` is the rewarded text, after rule 11. `reward` is the reward model's, before the KL
    penalty. `kl` is the sum over the answer's tokens of log policy - log reference, in nats.
    """

    rollout_id: str
    prompt_id: str
    step: int
    sample: int
    completion: str
    finish_reason: FinishReason
    n_tokens: int
    reward: float
    kl: float


@with_config(STRICT)
class PolicyAnswer(TypedDict):
    """A model's answer to a prompt that nothing was trained on, with its rewards."""

    answer_id: str
    prompt_id: str
    policy: str
    text: str
    finish_reason: FinishReason
    n_tokens: int
    reward: float
    held_out_reward: float


class PromptSplits(RowsValidator):
    """Validator of `prompt_splits`."""

    row, key = PromptSplit, "prompt_id"
    traced = False


class AsIsPairs(RowsValidator):
    """Validator of `as_is_pairs`."""

    row, key = AsIsPair, "pair_id"
    texts = ("prompt", "chosen", "rejected")


class MismatchedPairs(RowsValidator):
    """Validator of `mismatched_pairs`."""

    row, key = MismatchedPair, "mismatched_id"
    parents: ClassVar = {"comparison_id": ("reward_pairs",), "rejected_id": ("responses",)}
    texts = ("prompt", "chosen", "rejected")


class ScoredComparisons(RowsValidator):
    """Validator of `held_out_scores`."""

    row, key = ScoredComparison, "comparison_id"
    traced = False


class Candidates(RowsValidator):
    """Validator of `self_play`."""

    row, key = Candidate, "candidate_id"
    parents: ClassVar = {
        "prompt_id": ("prompts",),
        "parent_id": ("self_play",),
        "assistant": ("assistants",),
    }
    texts = ("question", "text")


class SelfPlayLedger(Ledger):
    """Validator of `ledger_self_play`: a dropped question names its prompt and the last answer."""

    parents: ClassVar = {"parent_ids": ("prompts", "self_play")}
    roles: ClassVar = {"parent_ids": ("prompt", "answer")}


class Demonstrations(RowsValidator):
    """Validator of `sft_demonstrations`."""

    row, key = Demonstration, "demonstration_id"
    parents: ClassVar = {"candidate_id": ("self_play",)}
    texts = ("dialogue", "answer")


class Rollouts(RowsValidator):
    """Validator of `rollouts`."""

    row, key = Rollout, "rollout_id"
    parents: ClassVar = {"prompt_id": ("prompts",)}
    texts = ("completion",)
    model, plan = "rollout_model", "rl_policy_training_metrics"


class SFTAnswers(RowsValidator):
    """Validator of `sft_answers`."""

    row, key = PolicyAnswer, "answer_id"
    parents: ClassVar = {"prompt_id": ("prompts",)}
    texts = ("text",)
    model, plan = "policy", "sft_policy_metrics"


class RLAnswers(SFTAnswers):
    """Validator of `rl_answers`."""

    plan = "rl_policy_metrics"


class DPOAnswers(SFTAnswers):
    """Validator of `dpo_answers`."""

    plan = "dpo_policy_metrics"
