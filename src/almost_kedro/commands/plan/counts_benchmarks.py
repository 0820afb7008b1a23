"""What benchmarks and preference sets have models read, program by program."""

from __future__ import annotations

from collections.abc import Iterator

from almost_kedro.commands.plan.inputs import PlanInputs
from almost_kedro.commands.plan.workload import Ask, Work
from almost_kedro.evaluation.stages import POLICIES, PROMPTED
from almost_kedro.options.evaluation import HELD_OUT_SET


def count_benchmarks(inputs: PlanInputs) -> Iterator[Work]:
    """Return what HHH and MC1 ask of policies and of reward models, and preference sets."""
    lengths, best = inputs.lengths, inputs.best
    for name in POLICIES:
        prompted = name == PROMPTED
        prefix = lengths.prefixes[best["name"]] if prompted else 0
        for program, requests, read in (
            (name, lengths.logprobs, lengths.asked),
            (f"{name} answers", 2 * lengths.pairs, lengths.answered),
        ):
            yield Work(
                "policy_verdicts",
                program,
                best["model"] if prompted else inputs.options.sft.model,
                "likelihood",
                requests=requests,
                asks=(Ask(0, prefix, 0, 0, 1),) if prefix else (),
                forward_tokens=read,
            )
    step, n, tokens = "reward_verdicts", 2 * lengths.pairs, lengths.rewarded
    yield inputs.score_together(step, "reward_model", n, tokens)
    yield inputs.score(step, "held_out_reward_model", n, tokens)
    yield from count_preferences(inputs)


def count_preferences(inputs: PlanInputs) -> Iterator[Work]:
    """Return what policies read of held-out comparisons, and all of the user's sets."""
    step, model = "preference_scores", inputs.options.sft.model
    answers = 2 * inputs.kept_pairs("held_out")
    # The eos, which the last token of `compared` stands for, is not read.
    read = answers * min(inputs.compared - 1, inputs.options.sft.max_length)
    sets = {HELD_OUT_SET: (answers, read), **inputs.lengths.preferences}
    for name, (rows, tokens) in sets.items():
        for policy in POLICIES:
            if policy != PROMPTED:
                yield Work(
                    step, f"{name} {policy}", model, "likelihood", rows, forward_tokens=tokens
                )
    for name, (rows, tokens) in inputs.lengths.preferences.items():
        yield inputs.score_together(step, f"{name} reward_model", rows, tokens / rows + 1)
        yield inputs.score(step, f"{name} held_out_reward_model", rows, tokens / rows + 1)
