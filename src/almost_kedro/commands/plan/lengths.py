"""How long the texts are that a run starts from, in tokens of the models that read them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from almost_kedro.contract import Likelihood
from almost_kedro.evaluation.hhh import (
    build_hhh_answers,
    build_hhh_requests,
    build_likelihood_requests,
)
from almost_kedro.evaluation.letter_judge import build_letter_prompt, list_pair_cases
from almost_kedro.evaluation.truthfulqa import build_mc1_requests
from almost_kedro.feedback.planning import build_user_prefix
from almost_kedro.feedback.prompts import build_prompt_request
from almost_kedro.feedback.responses import build_question
from almost_kedro.feedback.seeds import read_seed_file
from almost_kedro.generation.trees import follow, join_texts
from almost_kedro.options.all import Options
from almost_kedro.rows.evaluation import ChoiceItem, OpenItem, PairItem
from almost_kedro.rows.feedback import Assistant
from almost_kedro.rows.preferences import PreferenceItem

# Tokens of a text under a model's tokenizer, by the model's name.
Count = Callable[[str, str], int]


@dataclass(frozen=True)
class Benchmarks:
    """The items that models are evaluated on; where they are not here, some like them."""

    pairs: Sequence[PairItem]  # of static HHH
    choices: Sequence[ChoiceItem]  # of MC1
    questions: Sequence[OpenItem]
    preset: str  # what MC1 is asked after, in its likelihood form
    preferences: Sequence[PreferenceItem] = ()
    pairs_scale: float = 1.0  # pairs that there will be for each of `pairs`
    choices_scale: float = 1.0


@dataclass(frozen=True)
class Lengths:
    """Tokens, as means, and numbers of the benchmarks' items."""

    instruction: int  # what all requests for prompts begin with
    request: float  # the rest of such a request: the shots
    seed: float  # a seed prompt
    frame: float  # what stands around a prompt where it is asked: "Human:" and "Assistant:"
    prefixes: Mapping[str, int]  # demonstrations, by the assistant's name
    user_prefix: int  # demonstrations of the simulated user
    questions: float  # open ones
    question: float  # an open question, as it is asked
    pairs: float  # of static HHH
    rewarded: float  # an answer of static HHH with its dialogue, as a reward model reads it
    asked: float  # what HHH and MC1 have a policy read in all, without the prefix
    logprobs: float  # how many log-probabilities they ask for
    answered: float  # what the answers of static HHH have a policy read, as whole answers
    preferences: Mapping[str, tuple[int, float]]  # by set, its answers and what they have one read
    judge_frame: float = 0.0  # an open question as a judge by letter is asked, without the answers
    judged_pairs: float = 0.0  # what it reads of static HHH in all


def measure_lengths(
    options: Options,
    seeds: str,
    demonstrations: Mapping[str, str],
    assistants: Sequence[Assistant],
    benchmarks: Benchmarks,
    count: Count,
    width: int,
) -> Lengths:
    """Measure them.

    Args:
        options: All options.
        seeds: The seed file.
        demonstrations: Texts of the files, by name.
        assistants: Those of the options, with their demonstrations.
        benchmarks: Their items.
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
    seed_tokens = [count(writer, text) for text in file.prompts]
    seed = fmean(seed_tokens)
    return Lengths(
        instruction=count(writer, start),
        request=count(writer, shots) + size * (seed - fmean(seed_tokens[:size])),
        seed=seed,
        frame=count(reader, build_question("", options.rules)),
        prefixes={each["name"]: count(each["model"], each["prefix"]) for each in assistants},
        user_prefix=count(
            reader, build_user_prefix(demonstrations, options.self_play, options.rules)
        ),
        **measure_benchmarks(options, benchmarks, count, width),
    )


def measure_benchmarks(
    options: Options, benchmarks: Benchmarks, count: Count, width: int
) -> dict[str, Any]:
    """Return what `Lengths` has of benchmarks, by name; see `measure_lengths`."""
    reader, judge = options.sft.model, options.reward_model.model
    asked = [build_question(item["question"], "corrected") for item in benchmarks.questions]
    answers = [f"{row['dialogue']} {row['answer']}" for row in build_hhh_answers(benchmarks.pairs)]
    hhh = build_hhh_requests(benchmarks.pairs)
    # The last character stands for eos, which is not read.
    whole = [
        Likelihood(**{**row, "continuation": f" {row['continuation']}\n"})
        for row in build_likelihood_requests(benchmarks.pairs)
    ]
    mc1 = build_mc1_requests(benchmarks.choices, options.evaluation.mc1_form, benchmarks.preset)
    letters: dict[str, float] = {}
    if options.judge_kind == "letters":
        name = options.evaluation.judge
        frames = [build_letter_prompt(item["question"], "", "") for item in benchmarks.questions]
        cases = list_pair_cases(benchmarks.pairs)
        letters = {
            "judge_frame": fmean(count(name, text) for text in frames) if frames else 0.0,
            "judged_pairs": benchmarks.pairs_scale * sum(count(name, c.prompt) for c in cases),
        }
    scaled = [(hhh, benchmarks.pairs_scale), (mc1, benchmarks.choices_scale)]
    return {
        "questions": len(asked),
        "question": fmean(count(reader, text) for text in asked) if asked else 0.0,
        "pairs": len(benchmarks.pairs) * benchmarks.pairs_scale,
        "rewarded": fmean(count(judge, text) + 1 for text in answers) if answers else 0.0,
        "asked": sum(scale * count_read(rows, reader, count, width) for rows, scale in scaled),
        "logprobs": sum(scale * len(rows) for rows, scale in scaled),
        **letters,
        "answered": benchmarks.pairs_scale
        * count_read(whole, reader, count, width, options.sft.max_length),
        "preferences": measure_preferences(options, benchmarks.preferences, count),
    }


def measure_preferences(
    options: Options, items: Sequence[PreferenceItem], count: Count
) -> dict[str, tuple[int, float]]:
    """Return how many answers each preference set has, and the tokens of these and their dialogues.

    What answers to one dialogue share is counted for each.
    """
    found: dict[str, tuple[int, float]] = {}
    for item in items:
        n, tokens = found.get(item["set"], (0, 0.0))
        texts = [f"{item['dialogue']} {answer}" for answer in item["choices"]]
        read = (min(count(options.sft.model, text), options.sft.max_length) for text in texts)
        found[item["set"]] = n + len(texts), tokens + sum(read)
    return found


def count_read(
    rows: Sequence[Likelihood], model: str, count: Count, width: int, longest: int | None = None
) -> int:
    """Count what a model reads to tell log-probabilities; see `list_read`.

    `longest` is the number of tokens beyond which a text loses its beginning; None: none does.
    """
    texts = [row["context"] + row["continuation"] for row in rows]
    characters = sum(map(len, texts)) / max(1, sum(count(model, text) for text in texts))
    if longest:
        texts = [text[-round(longest * characters) :] for text in texts]
    return sum(count(model, part) for part in list_read(texts, round(width * characters)))


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
