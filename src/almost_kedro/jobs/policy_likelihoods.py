"""How probable policies find what benchmarks ask: the jobs of each."""

from __future__ import annotations

from collections.abc import Sequence

from almost_kedro.contract import Likelihood
from almost_kedro.feedback.responses import SPLITTER, end_dialogue
from almost_kedro.feedback.reward_rows import choose_separator
from almost_kedro.generation.likelihood_job import AnswerTexts, LikelihoodJob
from almost_kedro.jobs.policies import Policy
from almost_kedro.options.all import Options
from almost_kedro.processes.workplace import Workplace

# A job and its rows, as `compute_all_logprobs` takes them.
Asked = tuple[LikelihoodJob, list[Likelihood]]


def ask_for_texts(
    policy: Policy, rows: Sequence[Likelihood], options: Options, workplace: Workplace
) -> Asked:
    """Describe the job that asks a policy for continuations of plain text."""
    job = LikelihoodJob(
        # Plain, whatever dialogues are read by.
        model=policy.model.model_copy(update={"template": None}),
        dtype=options.generation.dtype,
        replicas=options.generation.replicas,
        out=workplace.evaluation,
    )
    return job, [
        Likelihood(**{**row, "prefix": policy.prefix + row.get("prefix", "")}) for row in rows
    ]


def ask_for_answers(
    policy: Policy, rows: Sequence[Likelihood], options: Options, workplace: Workplace
) -> Asked:
    """Describe the job that asks a policy for whole answers; a row's context is their dialogue.

    The base model and what is trained from it read dialogue, answer and eos as training does (rule
    19), cut to `sft.max_length`. A prompted assistant continues its demonstrations, so its answer
    ends as theirs do, with the splitter: none of them ends with eos.
    """
    separator = choose_separator(options.rules)
    asked = [
        Likelihood(**{**row, "context": end_dialogue(row["context"], options.rules)})
        for row in rows
    ]
    if policy.prefix:
        ended = [
            Likelihood(**{**row, "continuation": f"{separator}{row['continuation']}{SPLITTER}"})
            for row in asked
        ]
        return ask_for_texts(policy, ended, options, workplace)
    texts = AnswerTexts(separator=separator, max_length=options.sft.max_length)
    job = LikelihoodJob(
        model=policy.model,
        dtype=options.generation.dtype,
        replicas=options.generation.replicas,
        out=workplace.evaluation,
        answers=texts,
    )
    return job, asked
