"""How long the texts are that a run starts from, in tokens of the models that read them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from almost_kedro.errors import UserError
from almost_kedro.evaluation.benchmarks import ChoiceItem, OpenItem, PairItem
from almost_kedro.evaluation.hhh import build_hhh_answers, build_hhh_requests
from almost_kedro.evaluation.truthfulqa import build_mc1_requests
from almost_kedro.feedback.planning import plan_assistants
from almost_kedro.feedback.prompts import build_prompt_request, read_seed_file
from almost_kedro.feedback.responses import build_prefix, build_question
from almost_kedro.generation.likelihood_job import Likelihood
from almost_kedro.generation.trees import follow, join_texts
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
        asked: What HHH and MC1 have a policy read in all, without the prefix.
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
    asked: float
    logprobs: float


def measure_lengths(
    options: Options,
    seeds: str,
    demonstrations: Mapping[str, str],
    benchmarks: Benchmarks,
    preset: str,
    count: Count,
    width: int,
) -> Lengths:
    """Measure them.

    Args:
        options: All options.
        seeds: The seed file.
        demonstrations: Texts of the files, by name.
        benchmarks: Their items.
        preset: What MC1 is asked after, in its likelihood form.
        count: Counts tokens.
        width: Numbers in a state of the policies' model.

    Raises:
        UserError: Demonstrations that are missing or too few.
    """
    file = read_seed_file(seeds)
    writer, reader = options.prompt_generation.model, options.sft.model
    # As many seeds as there are shots stand for any draw of them.
    size = min(options.prompt_generation.shots, len(file.prompts))
    start, shots = build_prompt_request(file.instruction, file.prompts[:size])
    seed = fmean(count(writer, text) for text in file.prompts)
    shown = fmean(count(writer, text) for text in file.prompts[:size])
    asked = list_assistants(options, demonstrations)
    logprobs = read = 0.0
    for rows, scale in ask_likelihoods(options, benchmarks, preset):
        logprobs += scale * len(rows)
        texts = [row["context"] + row["continuation"] for row in rows]
        characters = sum(map(len, texts)) / max(1, sum(count(reader, text) for text in texts))
        parts = list_read(texts, round(width * characters))
        read += scale * sum(count(reader, part) for part in parts)
    return Lengths(
        instruction=count(writer, start),
        request=count(writer, shots) + size * (seed - shown),
        seed=seed,
        frame=count(reader, build_question("", options.rules)),
        prefixes={each["name"]: count(each["model"], each["prefix"]) for each in asked},
        user_prefix=count(reader, show_user(options, demonstrations)),
        question=_mean(
            count(reader, build_question(item["question"], "corrected"))
            for item in benchmarks.questions
        ),
        rewarded=_mean(
            count(options.reward_model.model, row["dialogue"] + " " + row["answer"]) + 1
            for row in build_hhh_answers(benchmarks.pairs)
        ),
        asked=read,
        logprobs=logprobs,
    )


def list_assistants(options: Options, demonstrations: Mapping[str, str]) -> list[Assistant]:
    """Return all assistants; those that are off topic generate nothing."""
    return plan_assistants(demonstrations, options.response_generation, options.rules)


def ask_likelihoods(
    options: Options, benchmarks: Benchmarks, preset: str
) -> list[tuple[list[Likelihood], float]]:
    """Return what HHH and MC1 ask of a policy, each with how many there will be of it."""
    form = options.evaluation.mc1_form
    return [
        (build_hhh_requests(benchmarks.pairs), benchmarks.pairs_scale),
        (build_mc1_requests(benchmarks.choices, form, preset), benchmarks.choices_scale),
    ]


def list_read(texts: Sequence[str], width: int) -> list[str]:
    """Return what is read of each text after what it has in common with others (`trees`).

    The last token, which is not read, is taken for the last character.

    Args:
        texts: Contexts with their continuations.
        width: What joins texts (`trees.join_texts`), for characters: as many times a model's as a
            token has characters.
    """
    read = [[*map(ord, text)][:-1] for text in texts]
    return [
        "".join(map(chr, own[shared:]))
        for tree in join_texts(read, 0, width)
        for own, shared in follow([read[number] for number in tree], 0)
    ]


def show_user(options: Options, demonstrations: Mapping[str, str]) -> str:
    """Return what the simulated user is shown.

    Raises:
        UserError: Demonstrations that are missing or too few.
    """
    play = options.self_play
    if play.user_demonstrations not in demonstrations:
        raise UserError(
            f"option self_play.user_demonstrations: {play.user_demonstrations!r} needs the file "
            f"{play.user_demonstrations}_prompt.txt in assets_root; there are "
            f"{', '.join(sorted(demonstrations))}"
        )
    text = demonstrations[play.user_demonstrations]
    return build_prefix(text, play.user_demonstrations, play.user_shots, options.rules)


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return fmean(found) if found else 0.0
