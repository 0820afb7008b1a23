"""Prompt generation (rules 1 to 7): from seed prompts, a model writes new ones."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from almost_kedro.errors import UserError
from almost_kedro.feedback.ledger import Rules, Verdict, check_served, enter, other_rules
from almost_kedro.feedback.overlap import OverlapIndex, Tokenize
from almost_kedro.feedback.scripts import can_end_without_mark, ends_sentence, measure_length
from almost_kedro.generation.engine import Completion, Request, Sampling, digest
from almost_kedro.options import PromptGenerationOptions
from almost_kedro.rows import LedgerRow, Prompt, PromptRequest, Seed, row_id

# Takes requests, returns each one's key and completion.
Generate = Callable[[Sequence[Request], Sampling], list[tuple[str, Completion]]]
SHORT, LONG = 30, 250
# What helps where a rule rejects most of what a model writes.
REMEDIES = {
    "rule_4_no_query": "take another model, which writes a prompt where one is asked for",
    "rule_5_too_short": f"give seeds of {SHORT} characters or more, with final punctuation",
    "rule_5_too_long": f"give seeds of at most {LONG} characters",
    "rule_5_cut_off": "raise prompt_generation.max_new_tokens, or give shorter seeds",
    "rule_6_overlap": "raise prompt_generation.overlap_threshold, or give more varied seeds",
    "server_refused": "mend the server; the log has what it said",
    "server_withheld": "give seeds that the server's filter lets pass, or take another server",
}
# What others call the column of the prompts.
PROMPT_COLUMNS = {"prompt", "prompts", "instruction", "question", "query", "text", "input"}


@dataclass(frozen=True)
class SeedFile:
    """An instruction to the model, and the seed prompts shown to it."""

    instruction: str
    prompts: tuple[str, ...]


def read_seed_file(text: str) -> SeedFile:
    """Rule 1: the first line is an instruction, each other line that is not blank a seed prompt.

    A repeated seed counts once. Byte-order mark, Windows line ends and a missing final newline do
    no harm.

    Raises:
        UserError: If there is no seed prompt, or if the file is JSON or a table, as other projects
            have it: nothing in it tells what to instruct the model to.
    """
    text = text.lstrip("\ufeff")
    refuse_rows(text)
    lines = [line.strip() for line in text.split("\n")]
    lines = list(dict.fromkeys(line for line in lines if line))
    if len(lines) < 2:
        raise UserError(
            f"seed_prompts: found {len(lines)} lines that are not blank; "
            "give an instruction on the first line and one seed prompt on each further line"
        )
    return SeedFile(lines[0], tuple(lines[1:]))


def refuse_rows(text: str) -> None:
    """Refuse what is surely no list of plain prompts.

    Raises:
        UserError: JSON lines (most are objects, or all are texts or lists), a JSON document, or a
            table by its header.
    """
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    rows = [_parse(line) for line in lines]
    objects = [row for row in rows if isinstance(row, dict)]
    columns = [
        name.strip(" \"'").lower() for name in re.split(r"[,;\t]", lines[0] if lines else "")
    ]
    if 2 * len(objects) > len(lines):
        found = f"JSON lines of {', '.join(objects[0]) or 'nothing'}"
    elif _parse(text) is not None or (lines and None not in rows):
        found = "JSON"
    elif all(map(str.isidentifier, columns)) and not PROMPT_COLUMNS.isdisjoint(columns):
        found = f"a table with the columns {', '.join(columns)}"
    else:
        return
    raise UserError(
        f"seed_prompts: found {found}; give plain lines: an instruction to the model on the first, "
        "then one seed prompt on each, such as what is in its field instruction or prompt"
    )


def _parse(text: str) -> dict[str, object] | list[object] | str | None:
    """Read JSON; None if it is none, or a number or a word, which a plain line can be."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict | list | str) else None


def make_seed_rows(seeds: SeedFile) -> list[Seed]:
    """Give each seed prompt the id by which requests name their shots."""
    return [Seed(seed_id=row_id("seed", text), text=text) for text in seeds.prompts]


def build_prompt_request(instruction: str, shots: Sequence[str]) -> tuple[str, str]:
    """Rule 2: the instruction, a blank line, a line "Query: ..." a shot, then a bare "Query:".

    Returns:
        The part that all requests share, and the rest.
    """
    lines = [f"Query: {shot}" for shot in shots]
    return f"{instruction}\n\n", "\n".join([*lines, "Query:"])


def prompt_sampling(options: PromptGenerationOptions, rules: Rules, seed: int) -> Sampling:
    """Rule 3: temperature 1.2, top_p 0.9, 64 new tokens (the options' published values).

    original: no stop strings.
    corrected: stops at the line's end, since the prompt is the first line.
    """
    return Sampling(
        temperature=options.temperature,
        top_p=options.top_p,
        max_new_tokens=options.max_new_tokens,
        stop=("\n",) if rules == "corrected" else (),
        seed=seed,
    )


def extract_prompt(output: str, rules: Rules) -> str | None:
    """Rule 4: find the prompt in the model's output and cut it at a later "query:" (any case).

    original: the first line that starts with "Query:". As the request already ends in "Query:",
        this loses the model's first query and takes the second.
    corrected: the first line, which continues the request's own "Query:".

    Returns:
        The prompt; None if there is none.
    """
    if rules == "original":
        lines = [line for line in output.split("\n") if line.startswith("Query:")]
        line = lines[0].removeprefix("Query:") if lines else ""
    else:
        line = output.split("\n", 1)[0]
    prompt = re.split("query:", line, maxsplit=1, flags=re.IGNORECASE)[0].strip()
    return prompt or None


def find_prompt_end(prompt: str, completion: Completion) -> str:
    """Tell what ended a first line: whatever ended the output, unless the line ended before it."""
    last = "\n" not in completion.text and completion.text.rstrip().endswith(prompt)
    return completion.finish_reason if last else "stop"


def check_prompt_length(prompt: str, finish_reason: str, rules: Rules) -> Verdict:
    """Rule 5: drop prompts that are too short, too long or cut off.

    original: drops those shorter than 30 characters without final punctuation, and those longer
        than 250 characters *with* it (a double negation); what the token limit cut off passes.
    corrected: drops those shorter than 30 or longer than 250 characters without final punctuation,
        and those that the token limit cut off. Characters and punctuation are those of the prompt's
        script (`scripts`). Where no sentence ends in a mark, 15 are enough, and none is too long.
    """
    if rules == "original":
        return _check_original_length(prompt)
    length, finished = measure_length(prompt), ends_sentence(prompt)
    unmarked = can_end_without_mark(prompt)
    size = f"{len(prompt)} characters, {'with' if finished else 'without'} final punctuation"
    if length < (SHORT / 2 if unmarked else SHORT) and not finished:
        return Verdict("rule_5_too_short", size)
    if length > LONG and not finished and not unmarked:
        return Verdict("rule_5_too_long", size)
    if finish_reason == "length":
        return Verdict("rule_5_cut_off", f"ended by the token limit after {size}")
    return Verdict()


def _check_original_length(prompt: str) -> Verdict:
    finished = prompt.endswith((".", "?", "!"))
    size = f"{len(prompt)} characters, {'with' if finished else 'without'} final punctuation"
    if len(prompt) < SHORT and not finished:
        return Verdict("rule_5_too_short", size)
    if len(prompt) > LONG and finished:
        return Verdict("rule_5_too_long", size)
    return Verdict()


def check_overlap(prompt: str, index: OverlapIndex, tokenize: Tokenize) -> Verdict:
    """Rule 6: drop what has ROUGE-L F >= 0.5 with any seed or accepted prompt.

    original: on the pieces of a lower-cased WordPiece vocabulary.
    corrected: on lower-cased words and punctuation marks.
    Which of the two is the caller's `tokenize`.
    """
    found = index.find(tokenize(prompt))
    if found is None:
        return Verdict()
    return Verdict("rule_6_overlap", f"ROUGE-L F {found[1]:.3f} with {found[0]}")


def format_prompts_txt(prompts: Sequence[Prompt]) -> str:
    """Rule 7: the prompts as text, one a line; what can't be printed becomes a space."""
    texts = ["".join(c if c.isprintable() else " " for c in p["text"]) for p in prompts]
    return "".join(" ".join(text.split()) + "\n" for text in texts)


@dataclass
class PromptRun:
    """What prompt generation returns."""

    prompts: list[Prompt] = field(default_factory=list)
    requests: list[PromptRequest] = field(default_factory=list)
    ledger: list[LedgerRow] = field(default_factory=list)


def generate_prompts(
    seeds: SeedFile,
    options: PromptGenerationOptions,
    rules: Rules,
    seed: int,
    generate: Generate,
    tokenizers: dict[Rules, Tokenize],
    on_round: Callable[[int], None] = lambda accepted: None,
) -> PromptRun:
    """Generate prompts in rounds until enough are accepted.

    Each round's shots are drawn from the pool as it was before the round, so that neither the
    engine's batch size nor its speed changes what is asked.

    Args:
        seeds: The seed file.
        options: How many prompts, shots, requests a round.
        rules: The rule set in force.
        seed: Draws the shots and the tokens.
        generate: The model.
        tokenizers: For rule 6; where the other set's is missing, it is judged with this set's.
        on_round: Called after each round with the number of prompts accepted so far.

    Raises:
        UserError: If the bound on requests is reached: how many were rejected by which rule.
    """
    sampling = prompt_sampling(options, rules, seed)
    pool = [(seed["seed_id"], seed["text"]) for seed in make_seed_rows(seeds)]
    judge = PromptJudge(options.overlap_threshold, rules, tokenizers)
    for seed_id, text in pool:
        judge.accept(seed_id, text)
    run = PromptRun()
    limit = options.max_requests_per_prompt * options.n_prompts
    number = 0
    while len(run.prompts) < options.n_prompts:
        if number >= limit:
            raise UserError(_explain_shortage(run, options, number))
        round_ = [
            draw_request(seeds.instruction, pool, options.shots, seed, number + i)
            for i in range(options.round_size)
        ]
        results = generate([request for _, request in round_], sampling)
        for (shot_ids, _), (key, completion) in zip(round_, results, strict=True):
            prompt = judge.judge(run, options, key, completion, shot_ids, number)
            if prompt:
                run.prompts.append(prompt)
                pool.append((prompt["prompt_id"], prompt["text"]))
        number += options.round_size
        on_round(len(run.prompts))
    return run


def draw_request(
    instruction: str, pool: Sequence[tuple[str, str]], shots: int, seed: int, number: int
) -> tuple[list[str], Request]:
    """Draw a request's shots without replacement; returns their ids and the request.

    Args:
        instruction: First line of the seed file.
        pool: Ids and texts of seeds and accepted prompts.
        shots: How many to show.
        seed: Draws them, together with the number.
        number: Which request of the run this is; repeated texts then draw their own tokens.
    """
    drawn = random.Random(digest("shots", seed, number)).sample(pool, shots)
    prefix, text = build_prompt_request(instruction, [text for _, text in drawn])
    return [shot_id for shot_id, _ in drawn], Request(text, prefix, sample=number)


class PromptJudge:
    """Applies rules 4 to 6 in order, under both rule sets."""

    def __init__(self, threshold: float, rules: Rules, tokenizers: dict[Rules, Tokenize]):
        """Make a judge that has accepted nothing yet."""
        self.rules = rules
        self.tokenizers = tokenizers
        self.indices = {name: OverlapIndex(threshold) for name in tokenizers}

    def accept(self, text_id: str, text: str) -> None:
        """Add a seed or an accepted prompt to what new ones are compared with."""
        for name, index in self.indices.items():
            index.add(text_id, self.tokenizers[name](text))

    def verdict(self, prompt: str | None, completion: Completion, rules: Rules) -> Verdict:
        """Return one rule set's verdict on an extracted prompt."""
        if not (served := check_served(completion.finish_reason)).kept:
            return served
        if prompt is None:
            return Verdict("rule_4_no_query", "no prompt in the output")
        verdict = check_prompt_length(prompt, find_prompt_end(prompt, completion), rules)
        if not verdict.kept:
            return verdict
        name = rules if rules in self.indices else self.rules
        return check_overlap(prompt, self.indices[name], self.tokenizers[name])

    def judge(
        self,
        run: PromptRun,
        options: PromptGenerationOptions,
        key: str,
        completion: Completion,
        shot_ids: list[str],
        number: int,
    ) -> Prompt | None:
        """Enter an output into the run's requests and ledger; return the prompt if accepted.

        The two sets read different lines of an output. Under `corrected` there is no second line,
        since generation stops at the first one's end, so `original` judges the same text.
        """
        request_id = key[:16]
        text = extract_prompt(completion.text, self.rules)
        other_text = extract_prompt(completion.text, "corrected")
        verdict = self.verdict(text, completion, self.rules)
        other = self.verdict(other_text, completion, other_rules(self.rules))
        note = "" if text == other_text else f"corrected reads {other_text!r}"
        if verdict.kept and len(run.prompts) == options.n_prompts:
            note = ""
            verdict = other = Verdict(
                "surplus", f"{options.n_prompts} prompts were accepted before"
            )
        run.ledger += enter(request_id, self.rules, verdict, other, note)
        run.requests.append(
            PromptRequest(
                request_id=request_id,
                round=number // options.round_size,
                shot_ids=shot_ids,
                output=completion.text,
                finish_reason=completion.finish_reason,
                n_tokens=completion.n_tokens,
                verdict=verdict.rule,
            )
        )
        if not verdict.kept or text is None:
            return None
        prompt_id = row_id("prompt", request_id, text)
        self.accept(prompt_id, text)
        return Prompt(prompt_id=prompt_id, text=text, shot_ids=shot_ids, request_id=request_id)


def _explain_shortage(run: PromptRun, options: PromptGenerationOptions, n_requests: int) -> str:
    """Say what rejected how many when too few prompts were accepted."""
    counts = Counter(row["verdict"] for row in run.requests if row["verdict"] != "ok")
    rejected = ", ".join(f"{rule}: {n}" for rule, n in counts.most_common())
    [(most, _)] = counts.most_common(1)
    fewer = "lower prompt_generation.n_prompts, raise max_requests_per_prompt, or " * bool(
        run.prompts
    )
    return (
        f"prompt_generation: accepted {len(run.prompts)} of {options.n_prompts} prompts in "
        f"{n_requests} requests, then stopped (rejected by {rejected}); {fewer}{REMEDIES[most]}"
    )
