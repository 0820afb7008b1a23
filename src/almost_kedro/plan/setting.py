"""What all counts of a plan start from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

from almost_kedro.feedback.comparisons import rank_rubric
from almost_kedro.feedback.splits import SPLITS, count_shares
from almost_kedro.options import Options
from almost_kedro.plan.assumptions import Assumptions
from almost_kedro.plan.lengths import Lengths
from almost_kedro.plan.work import Ask, Work
from almost_kedro.rows import Assistant


@dataclass(frozen=True)
class Setting:
    """Options, texts and assumptions of a plan.

    Attributes:
        options: All options.
        assistants: Those that generate something.
        best: The first of the rubric: who plays, and is the "prompted" policy.
        lengths: Of the texts that the run starts from.
        assumptions: What can't be known before.
        splits: Prompts of each split.
        pairs: Pairs of assistants that the rubric compares, a prompt.
    """

    options: Options
    assistants: list[Assistant]
    best: Assistant
    lengths: Lengths
    assumptions: Assumptions
    splits: Mapping[str, int]
    pairs: float

    @property
    def prompt(self) -> float:
        """Tokens of a generated prompt as it is asked."""
        return self.lengths.frame + self.lengths.seed * self.assumptions.prompt_length

    @property
    def longest_prompt(self) -> float:
        """Tokens of the longest prompt as it is asked, about."""
        return self.lengths.frame + self.options.prompt_generation.max_new_tokens

    @property
    def answer_limit(self) -> float:
        """Mean limit of the assistants' answers."""
        limits = [each["max_new_tokens"] for each in self.assistants]
        return sum(limits) / len(limits)

    def kept_pairs(self, split: str) -> float:
        """Return the comparisons that come of a split's prompts."""
        options, kept = self.options.comparisons, self.assumptions.pairs_kept
        share = kept[options.length_control]
        if options.length_control == "matched":
            share = min(share * options.length_tolerance, kept["none"])
        return self.splits[split] * self.pairs * share

    def score(self, pipeline: str, step: str, program: str, rows: float, tokens: float) -> Work:
        """Return the scoring of rows by a reward model.

        Args:
            pipeline: Whose it is.
            step: Its name in the report's costs.
            program: The same.
            rows: How many.
            tokens: Of each, on average.
        """
        tokens = min(tokens, self.options.reward_model.max_length)
        return Work(
            pipeline=pipeline,  # type: ignore[arg-type]
            step=step,
            program=program,
            model=self.options.reward_model.model,
            kind="score",
            requests=rows,
            forward_tokens=rows * tokens,
        )

    def answer(self, requests: float, prompt: float, limit: int, prompted: bool = False) -> Ask:
        """Return answers of a policy, of the best assistant if `prompted`."""
        share = self.assumptions.best_length if prompted else self.assumptions.policy_length
        prefix = self.lengths.prefixes[self.best["name"]] if prompted else 0
        return Ask(requests, prefix, prompt, share * limit, limit)


def make_setting(
    options: Options, assistants: list[Assistant], lengths: Lengths, assumptions: Assumptions
) -> Setting:
    """Derive what follows from the options.

    Raises:
        UserError: A rubric that names whom there isn't.
    """
    splits = options.prompt_splits
    counts = count_shares(
        [getattr(splits, name) for name in SPLITS], options.prompt_generation.n_prompts
    )
    ranks = rank_rubric(options.comparisons.rubric, assistants)
    differing = sum(a != b for a, b in combinations(ranks.values(), 2))
    nearest = len(set(ranks.values())) - 1
    ranked = [each for each in assistants if each["name"] in ranks]
    return Setting(
        options=options,
        assistants=[each for each in assistants if not each["off_topic"]],
        best=min(ranked, key=lambda each: ranks[each["name"]]),
        lengths=lengths,
        assumptions=assumptions.for_rules(options.rules),
        splits=dict(zip(SPLITS, counts, strict=True)),
        pairs=nearest if options.comparisons.pairs == "nearest" else differing,
    )
