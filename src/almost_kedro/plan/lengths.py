"""How long the texts are that a run starts from, in tokens of the models that read them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from almost_kedro.evaluation.benchmarks import ChoiceItem, OpenItem, PairItem
from almost_kedro.evaluation.hhh import build_hhh_answers, build_hhh_requests
from almost_kedro.evaluation.truthfulqa import build_mc1_requests
from almost_kedro.feedback.planning import plan_assistants
from almost_kedro.feedback.prompts import build_prompt_request, read_seed_file
from almost_kedro.feedback.responses import build_prefix, build_question
from almost_kedro.generation.likelihood_job import Likelihood
from almost_kedro.options import Options
from almost_kedro.rows import Assistant

# Tokens of a text under a model's tokenizer, by the model's name.
Count = Callable[[str, str], int]


@dataclass(frozen=True)
class Benchmarks:
    """The items that models are evaluated on.

    Attributes:
        pairs: Of static HHH; where they are not here, some like them.
        choices: Of MC1, likewise.
        questions: Open ones.
        pairs_scale: Pairs that there will be for each of `pairs`.
        choices_scale: Questions of MC1 that there will be for each of `choices`.
    """

    pairs: Sequence[PairItem]
    choices: Sequence[ChoiceItem]
    questions: Sequence[OpenItem]
    pairs_scale: float = 1.0
    choices_scale: float = 1.0


@dataclass(frozen=True)
class Lengths:
    """Tokens; all but the prefixes are means.

    Attributes:
        instruction: What all requests for prompts begin with.
        request: The rest of such a request: the shots.
        seed: A seed prompt.
        frame: What stands around a prompt where it is asked: "Human:" and "Assistant:".
        prefixes: Demonstrations, by the assistant's name.
        user_prefix: Demonstrations of the simulated user.
        question: An open question, as it is asked.
        rewarded: An answer of static HHH with its dialogue, as a reward model reads it.
        passes: Forward passes of HHH and MC1, a policy.
        asked: What they read in all, without the prefix.
        logprobs: Log-probabilities that they are asked for.
    """

    instruction: int
    request: float
    seed: float
    frame: float
    prefixes: Mapping[str, int]
    user_prefix: int
    question: float
    rewarded: float
    passes: float
    asked: float
    logprobs: float


def measure_lengths(
    options: Options,
    seeds: str,
    demonstrations: Mapping[str, str],
    benchmarks: Benchmarks,
    preset: str,
    count: Count,
) -> Lengths:
    """Measure them.

    Args:
        options: All options.
        seeds: The seed file.
        demonstrations: Texts of the files, by name.
        benchmarks: Their items.
        preset: What MC1 is asked after, in its likelihood form.
        count: Counts tokens.

    Raises:
        UserError: Demonstrations that are missing or too few.
    """
    file = read_seed_file(seeds)
    writer, reader = options.prompt_generation.model, options.sft.model
    rules, play = options.rules, options.self_play
    # As many seeds as there are shots stand for any draw of them.
    size = min(options.prompt_generation.shots, len(file.prompts))
    start, shots = build_prompt_request(file.instruction, file.prompts[:size])
    seed = fmean(count(writer, text) for text in file.prompts)
    shown = fmean(count(writer, text) for text in file.prompts[:size])
    asked = list_assistants(options, demonstrations)
    likelihoods = ask_likelihoods(options, benchmarks, preset)
    contexts, logprobs = [], 0.0
    for rows, scale in likelihoods:
        different = dict.fromkeys(row["context"] for row in rows)
        contexts.append((different, scale))
        logprobs += len(rows) * scale
    if options.evaluation.mc1_form == "likelihood":
        # No two choices share a pass, and each is read up to its last token.
        rows, scale = likelihoods[1]
        contexts[1] = (dict.fromkeys(row["context"] + row["continuation"] for row in rows), scale)
    return Lengths(
        instruction=count(writer, start),
        request=count(writer, shots) + size * (seed - shown),
        seed=seed,
        frame=count(reader, build_question("", rules)),
        prefixes={each["name"]: count(each["model"], each["prefix"]) for each in asked},
        user_prefix=count(
            reader,
            build_prefix(
                demonstrations[play.user_demonstrations],
                play.user_demonstrations,
                play.user_shots,
                rules,
            ),
        ),
        question=_mean(
            count(reader, build_question(item["question"], "corrected"))
            for item in benchmarks.questions
        ),
        rewarded=_mean(
            count(options.reward_model.model, row["dialogue"] + " " + row["answer"]) + 1
            for row in build_hhh_answers(benchmarks.pairs)
        ),
        passes=sum(len(texts) * scale for texts, scale in contexts),
        asked=sum(scale * sum(count(reader, text) for text in texts) for texts, scale in contexts),
        logprobs=logprobs,
    )


def list_assistants(options: Options, demonstrations: Mapping[str, str]) -> list[Assistant]:
    """Return the assistants that generate something."""
    generation = options.response_generation
    asked = [each for each in generation.assistants if not getattr(each, "off_topic", False)]
    return plan_assistants(
        demonstrations, generation.model_copy(update={"assistants": asked}), options.rules
    )


def ask_likelihoods(
    options: Options, benchmarks: Benchmarks, preset: str
) -> list[tuple[list[Likelihood], float]]:
    """Return what HHH and MC1 ask of a policy, each with how many there will be of it."""
    form = options.evaluation.mc1_form
    return [
        (build_hhh_requests(benchmarks.pairs), benchmarks.pairs_scale),
        (build_mc1_requests(benchmarks.choices, form, preset), benchmarks.choices_scale),
    ]


def _mean(values: object) -> float:
    found = list(values)  # type: ignore[call-overload]
    return fmean(found) if found else 0.0
