"""The `_metrics` documents: figures of a run, as nodes write them and pages read them.

A step with a ledger also counts drops by rule, as `dropped_RULE`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NotRequired, TypedDict

# All documents, by dataset name.
Documents = Mapping[str, Any]
# By model: its fingerprint and other identification.
Models = dict[str, dict[str, Any]]


class Estimate(TypedDict):
    """A mean with its 95 % interval, by bootstrap over groups."""

    value: float
    low: float
    high: float


class CountedEstimate(Estimate):
    """An estimate, with the number of rows."""

    n: int


class PairedDifference(Estimate):
    """New - old on the same rows; with 95 %, it exceeds `low_one_sided`."""

    low_one_sided: float


class ProgramMetrics(TypedDict, total=False):
    """What a program that generates, scores or trains reports of itself.

    Tokens are those that it read or wrote, memory is the peak. `padding_difference` is the change
    of rewards that padding makes (log-odds, root mean square).
    """

    rows: int
    rows_computed: int
    rows_cut: int
    requests_generated: int
    requests_from_cache: int
    tokens: int
    tokens_generated: int
    seconds: float
    load_seconds: float
    train_seconds: float
    peak_memory_mb: float
    peak_gpu_memory_mb: float
    padding_difference: float
    resumed_from_step: int


class GateResult(TypedDict):
    """Whether a reward model may be used, and if not, why: one line a reason."""

    passed: bool
    reasons: list[str]


class Gated(TypedDict):
    """Whether the reward model behind these figures passed the gate."""

    gate_passed: bool
    gate_reasons: list[str]


class EdgeCount(TypedDict):
    """Comparisons of an edge, and the share in which the longer answer is chosen."""

    n: int
    chosen_longer: float


class ComparisonsMetrics(TypedDict):
    """`comparisons_metrics`; `n_dropped` counts pairs that a rule on pairs dropped."""

    n_comparisons: int
    n_candidates: int
    n_dropped: int
    chosen_longer: float | None
    edges: dict[str, EdgeCount]
    factors: dict[str, int]


class ReliabilityBin(TypedDict):
    """Pairs that a reward model is about equally sure of: low <= confidence < high."""

    low: float
    high: float
    n: int
    mean_probability: float
    share_right: float


class AboveFloor(TypedDict):
    """Accuracy - that of the best floor."""

    difference: float
    low_one_sided: float
    low: float
    high: float


class WithFloors(TypedDict, total=False):
    """An accuracy beside judges that read nothing; without pairs, all fields are missing."""

    accuracy: Estimate
    floors: dict[str, Estimate]
    best_floor: str
    above_best_floor: AboveFloor
    length_matched: CountedEstimate


class RewardModelMetrics(WithFloors):
    """`reward_model_metrics`; without pairs, only the counts are there. Margins are log-odds."""

    n: int
    n_prompts: int
    by_factor: NotRequired[dict[str, CountedEstimate]]
    by_edge: NotRequired[dict[str, CountedEstimate]]
    calibration_error: NotRequired[float]
    reliability: NotRequired[list[ReliabilityBin]]
    mean_margin: NotRequired[float]
    margin_std: NotRequired[float]
    padding_difference: NotRequired[float]


class LeftOut(WithFloors):
    """A reward model that was trained without a rule; `note` says why there are no figures."""

    n: int
    n_trained_on: int
    n_prompts: NotRequired[int]
    note: NotRequired[str]


class RuleAudit(TypedDict):
    """`rule_audit_metrics`, by the name of the edge or factors left out."""

    by_edge: dict[str, LeftOut]
    by_factor: dict[str, LeftOut]


class SeedsMetrics(TypedDict):
    """`reward_model_seeds_metrics`: an accuracy a training, and their mean."""

    n_seeds: int
    accuracies: NotRequired[list[float]]
    mean: NotRequired[Estimate]


class MismatchedMetrics(TypedDict):
    """`mismatched_pairs_metrics`; without pairs, only their number is there.

    `n_held_out` of the pairs are of held-out prompts; `accuracy` is on these, by
    `ScoredComparison`'s names of the reward models. `chosen_longer` is a share, `length_difference`
    the mean difference as a share of the longer answer.
    """

    n_pairs: int
    n_held_out: NotRequired[int]
    per_pair: NotRequired[int]
    weight: NotRequired[float]
    chosen_longer: NotRequired[float]
    length_difference: NotRequired[float]
    accuracy: NotRequired[dict[str, Estimate]]
    cost: NotRequired[dict[str, ProgramMetrics]]


class EnsembleMetrics(TypedDict):
    """`reward_model_ensemble_metrics`; of one reward model, only the number is there.

    `contrasts` are what members were trained on, if on a part each. Accuracies are on held-out
    comparisons: of each member, of the mean of their rewards, and of the reward that is used;
    `gain` is the latter's against the members' average. `disagreement` is the mean standard
    deviation of the members' rewards of a held-out answer (log-odds), `unanimous` the share of
    comparisons of which all members say the same.
    """

    n_members: int
    contrasts: NotRequired[list[str]]
    n: NotRequired[int]
    penalty: NotRequired[float]
    members: NotRequired[list[Estimate]]
    mean: NotRequired[Estimate]
    used: NotRequired[Estimate]
    gain: NotRequired[PairedDifference]
    disagreement: NotRequired[float]
    unanimous: NotRequired[Estimate]


class BestOfN(TypedDict):
    """Mean rewards of the best of n candidates, with 95 % intervals by prompt."""

    n: int
    n_groups: int
    reward: float
    reward_low: float
    reward_high: float
    held_out_reward: float
    held_out_low: float
    held_out_high: float


class SelfPlaySummary(TypedDict):
    """Dialogues and candidates, with mean lengths in characters."""

    n_dialogues: int
    n_candidates: int
    n_usable: int
    n_kept: int
    kept_by_turn: dict[str, int]
    kept_length: float | None
    rejected_length: float | None
    gain: BestOfN | None


class SelfPlayMetrics(SelfPlaySummary, Gated):
    """`self_play_metrics`; `best_of_n` is by n."""

    best_of_n: dict[str, BestOfN]


class PolicyRewards(TypedDict):
    """A policy's mean rewards and characters, and what ended its answers.

    `share_cut_off` is the share that the token limit ended. With `share_ended_by_eos` near 1, the
    policy has learned its end token, and whoever asks it needs no stop strings. `repetition` is the
    share of a text's runs of four words that stood before in it.
    """

    n: int
    reward: Estimate
    held_out_reward: Estimate
    length: float
    repetition: NotRequired[Estimate]
    share_cut_off: float
    share_ended_by_eos: NotRequired[float]


class RewardDifference(TypedDict):
    """Rewards and repetition of a new policy - those of an old one, on the same prompts.

    `held_out_win_rate` is the share with the higher held-out reward; a tie is half.
    """

    n: int
    reward: PairedDifference
    held_out_reward: PairedDifference
    held_out_win_rate: Estimate
    repetition: NotRequired[PairedDifference]


class PolicyComparison(TypedDict):
    """Policies by name, and differences by "new-vs-old"."""

    policies: dict[str, PolicyRewards]
    differences: dict[str, RewardDifference]


class PolicyTest(TypedDict):
    """How answers were sampled and scored: only rewards of one test may be compared.

    The reward models are fingerprints, `options` those of `policy_test`.
    """

    reward_model: str
    held_out_reward_model: str
    options: dict[str, Any]
    rules: str
    seed: int


class PolicyMetrics(PolicyComparison, Gated):
    """`sft_policy_metrics`, `rl_policy_metrics`."""

    models: Models
    test: PolicyTest
    cost: dict[str, ProgramMetrics]


class DPOMetrics(PolicyMetrics):
    """`dpo_policy_metrics`; `best_of` is the number of answers of which `best_of_n` takes one."""

    best_of: int
