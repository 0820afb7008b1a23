"""What all counts of a plan start from, and the kinds of programs that they are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from statistics import fmean

from almost_kedro.commands.plan.assumptions import Assumptions
from almost_kedro.commands.plan.lengths import Lengths
from almost_kedro.commands.plan.workload import Ask, Kind, Training, Work, count_steps
from almost_kedro.feedback.comparisons import rank_rubric
from almost_kedro.feedback.splits import SPLITS, count_shares
from almost_kedro.options.all import Options
from almost_kedro.options.reward_model import RewardModelOptions
from almost_kedro.options.training import DPOOptions, SFTOptions
from almost_kedro.rows.feedback import Assistant


@dataclass(frozen=True)
class PlanInputs:
    """Options, texts and assumptions of a plan."""

    options: Options
    assistants: list[Assistant]  # those that generate something
    best: Assistant  # the first of the rubric: it plays, and is the "prompted" policy
    lengths: Lengths
    assumed: Assumptions
    splits: Mapping[str, int]  # prompts of each split
    pairs: float  # of assistants that the rubric compares, a prompt

    @property
    def ranks(self) -> int:
        """Ranks that train together."""
        return self.options.launch.processes * self.options.launch.nodes

    @property
    def prompt(self) -> float:
        """Tokens of a generated prompt as it is asked."""
        return self.lengths.frame + self.lengths.seed * self.assumed.prompt_length

    @property
    def longest_prompt(self) -> float:
        """Tokens of the longest prompt as it is asked, about."""
        return self.lengths.frame + self.options.prompt_generation.max_new_tokens

    @property
    def compared(self) -> float:
        """Tokens of a compared answer with its prompt and the eos token."""
        limit = fmean(each["max_new_tokens"] for each in self.assistants)
        return self.prompt + self.assumed.compared_length * limit + 1

    def kept_pairs(self, split: str) -> float:
        """Return the comparisons that come of a split's prompts."""
        options, kept = self.options.comparisons, self.assumed.pairs_kept
        share = kept[options.length_control]
        if options.length_control == "matched":
            share = min(share * options.length_tolerance, kept["none"])
        return self.splits[split] * self.pairs * share

    def ask_policy(self, requests: float, prompt: float, limit: int) -> Ask:
        """Return answers without demonstrations."""
        return Ask(requests, 0, prompt, self.assumed.policy_length * limit, limit)

    def ask_best(self, requests: float, prompt: float, limit: int) -> Ask:
        """Return answers of the best assistant."""
        prefix = self.lengths.prefixes[self.best["name"]]
        return Ask(requests, prefix, prompt, self.assumed.best_length * limit, limit)

    def generate(self, step: str, program: str, model: str, *asks: Ask) -> Work:
        """Return a program that generates."""
        requests = sum(ask.requests for ask in asks)
        return Work(step, program, model, "generate", requests, asks)

    def score(self, step: str, program: str, rows: float, tokens: float) -> Work:
        """Return the scoring of rows of so many tokens, on average, by a reward model."""
        options = self.options.reward_model
        read = rows * min(tokens, options.max_length)
        return Work(step, program, options.model, "score", rows, forward_tokens=read)

    def score_together(self, step: str, program: str, rows: float, tokens: float) -> Work:
        """Return the scoring of the same rows by all reward models that reward as one."""
        once = self.score(step, program, rows, tokens)
        n = self.options.reward_model.n_members
        return replace(once, forward_tokens=n * once.forward_tokens)

    def share_of_members(self) -> list[float]:
        """Return what share of the pairs each reward model is trained on.

        Each edge of the rubric is taken to have as many as another.
        """
        trained = self.options.reward_model
        if not trained.contrasts:
            return [1.0] * trained.n_members
        sizes = [len(self.options.contrasts[name]) for name in trained.contrasts]
        return [n * (n - 1) / 2 / self.pairs for n in sizes]

    def train(
        self,
        step: str,
        program: str,
        options: RewardModelOptions | SFTOptions | DPOOptions,
        rows: float,
        tokens: float,
        longest: float,
        labelled: float = 0,
        others: int = 0,
    ) -> Work:
        """Return a training.

        Args:
            step: Its name in the report's costs.
            program: Its place there.
            options: Of the training.
            rows: Pairs for a reward model and DPO, else dialogues.
            tokens: Of all rows.
            longest: Tokens of the longest text, if nothing is cut.
            labelled: Tokens of it whose logits are computed.
            others: Texts of a row besides its pair, for a reward model.
        """
        kind = name_kind(options)
        step_rows = options.batch_size * options.accumulation * self.ranks
        return Work(
            step,
            program,
            options.model or self.options.sft.model,
            kind,
            training_tokens=tokens * options.epochs,
            training=Training(
                steps=count_steps(rows, options.epochs, step_rows),
                batch=options.batch_size * (1 if kind == "sft" else 2 + others),
                longest=min(longest, options.max_length),
                ranks=self.ranks,
                accumulation=options.accumulation,
                checkpointing=options.gradient_checkpointing,
                labelled=min(labelled, options.max_length),
                rank=options.rank,
                in_4bit=options.in_4bit,
                judges=1,
            ),
        )


def name_kind(options: RewardModelOptions | SFTOptions | DPOOptions) -> Kind:
    """Return what the options train."""
    if isinstance(options, RewardModelOptions):
        return "reward"
    return "dpo" if isinstance(options, DPOOptions) else "sft"


def make_inputs(
    options: Options, assistants: list[Assistant], lengths: Lengths, assumptions: Assumptions
) -> PlanInputs:
    """Derive what follows from the options.

    Raises:
        UserError: A rubric that names whom there isn't.
    """
    shares = [getattr(options.prompt_splits, name) for name in SPLITS]
    counts = count_shares(shares, options.prompt_generation.n_prompts)
    ranks = rank_rubric(options.comparisons.rubric, assistants)
    differing = sum(a != b for a, b in combinations(ranks.values(), 2))
    nearest = len(set(ranks.values())) - 1
    ranked = [each for each in assistants if each["name"] in ranks]
    return PlanInputs(
        options=options,
        assistants=[each for each in assistants if not each["off_topic"]],
        best=min(ranked, key=lambda each: ranks[each["name"]]),
        lengths=lengths,
        assumed=assumptions.for_rules(options.rules),
        splits=dict(zip(SPLITS, counts, strict=True)),
        pairs=nearest if options.comparisons.pairs == "nearest" else differing,
    )
