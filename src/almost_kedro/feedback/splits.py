"""Prompt splits: each prompt has one use only, so that no model is tested on its training data.

The original had no held-out split; this is ours.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from fractions import Fraction
from math import floor
from typing import get_args

from almost_kedro.contract import digest, row_id
from almost_kedro.errors import UserError
from almost_kedro.feedback.responses import build_question
from almost_kedro.options.rules import Rules
from almost_kedro.options.training import PromptSplitOptions
from almost_kedro.rows.feedback import Comparison, Prompt
from almost_kedro.rows.training import PromptSplit, Split

CONTAMINATED: Split = "contaminated"
# The splits that have a share.
SPLITS: tuple[Split, ...] = tuple(name for name in get_args(Split) if name != CONTAMINATED)
# All assistants answer their prompts.
ANSWERED: tuple[Split, ...] = ("reward_model", "held_out", "held_out_reward_model")
# Models are trained on texts from their prompts; the other splits only measure or watch.
TRAINED: tuple[Split, ...] = ("reward_model", "held_out_reward_model", "self_play", "rl")


def split_prompts(
    prompts: Sequence[Prompt],
    options: PromptSplitOptions,
    seed: int,
    contaminated: Collection[str] = (),
) -> list[PromptSplit]:
    """Give each prompt its split: order them by a hash of their ids, and cut at the shares.

    So a split depends on which prompts there are, not on their order. Contaminated prompts get a
    split of their own, and the shares count only the others. With fewer prompts than splits, the
    smallest splits get none; `require_prompts` tells who needs them.

    Args:
        seed: Orders the prompts, together with their ids.
        contaminated: Ids of prompts that must not be used.
    """
    ids = [prompt["prompt_id"] for prompt in prompts]
    used = (key for key in ids if key not in contaminated)
    ordered = sorted(used, key=lambda key: (row_id("split", seed, key), key))
    counts = count_shares([getattr(options, name) for name in SPLITS], len(ordered))
    names = [name for name, count in zip(SPLITS, counts, strict=True) for _ in range(count)]
    found = dict(zip(ordered, names, strict=True))
    return [PromptSplit(prompt_id=key, split=found.get(key, CONTAMINATED)) for key in ids]


def count_shares(shares: Sequence[float], n: int) -> list[int]:
    """Share out n things by largest remainders; of equal ones, the first comes first.

    A share whose count would be 0 takes one from the largest, if there are enough for all. `shares`
    are positive and need not sum to 1; the counts sum to n.
    """
    # As decimals: in binary, 0.3 is not three times 0.1, and equal remainders would differ.
    exact = [Fraction(str(share)) for share in shares]
    quotas = [n * share / sum(exact) for share in exact]
    counts = [floor(quota) for quota in quotas]
    by_remainder = sorted(range(len(counts)), key=lambda i: counts[i] - quotas[i])
    for i in by_remainder[: n - sum(counts)]:
        counts[i] += 1
    while n >= len(counts) and 0 in counts:
        counts[counts.index(max(counts))] -= 1
        counts[counts.index(0)] += 1
    return counts


def select_prompts(
    prompts: Sequence[Prompt], splits: Sequence[PromptSplit], names: Collection[Split]
) -> list[Prompt]:
    """Return the prompts of some splits, in order; raise UserError for a prompt without a split."""
    found = _match_splits("prompts", [prompt["prompt_id"] for prompt in prompts], splits)
    return [prompt for prompt in prompts if found[prompt["prompt_id"]] in names]


def require_prompts(
    prompts: Sequence[Prompt], splits: Sequence[PromptSplit], name: Split
) -> list[Prompt]:
    """Return a split's prompts, in order; raise UserError if it has none, or one has no split."""
    found = select_prompts(prompts, splits, [name])
    if not found:
        raise UserError(
            f"prompts: none of the {len(prompts)} is in split {name}; "
            f"raise prompt_generation.n_prompts, or prompt_splits.{name}"
        )
    return found


def list_dialogues(
    prompts: Sequence[Prompt], splits: Sequence[PromptSplit], name: Split, rules: Rules
) -> list[dict[str, str]]:
    """Return a split's prompts as rows that a policy in training answers; see `require_prompts`."""
    return [
        {"id": prompt["prompt_id"], "dialogue": build_question(prompt["text"], rules)}
        for prompt in require_prompts(prompts, splits, name)
    ]


def select_comparisons(
    comparisons: Sequence[Comparison], splits: Sequence[PromptSplit], name: Split
) -> list[Comparison]:
    """Return a split's comparisons, in order; raise UserError for a prompt without a split."""
    found = _match_splits("comparisons", [row["prompt_id"] for row in comparisons], splits)
    return [row for row in comparisons if found[row["prompt_id"]] == name]


def digest_splits(splits: Sequence[PromptSplit]) -> str:
    """Identify a version of the splits, whatever the order of its rows, to refuse mixed ones."""
    return digest(sorted((row["prompt_id"], row["split"]) for row in splits))


def _match_splits(
    dataset: str, prompt_ids: Sequence[str], splits: Sequence[PromptSplit]
) -> Mapping[str, Split]:
    found = {row["prompt_id"]: row["split"] for row in splits}
    strangers = sum(key not in found for key in prompt_ids)
    if strangers:
        raise UserError(
            f"{dataset}: {strangers} of {len(prompt_ids)} rows are of prompts that have no split; "
            f"{dataset} and prompt_splits are of different versions; load the versions of one run, "
            f"with --load-versions {dataset}:V,prompt_splits:V"
        )
    return found
