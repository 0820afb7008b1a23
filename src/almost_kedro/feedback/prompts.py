"""Prompt generation (rules 1 to 7): from seed prompts, a model writes new ones."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from almost_kedro.contract import Completion, Request, Sampling, digest, row_id
from almost_kedro.errors import UserError
from almost_kedro.feedback.ledger import RuleVerdict, check_served, make_ledger_rows, other_rules
from almost_kedro.feedback.overlap import OverlapIndex, Tokenize
from almost_kedro.feedback.scripts import can_end_without_mark, ends_sentence, measure_length
from almost_kedro.feedback.seeds import SeedFile, make_seed_rows
from almost_kedro.options.feedback import PromptGenerationOptions
from almost_kedro.options.rules import Rules
from almost_kedro.rows.feedback import LedgerRow, Prompt, PromptRequest

# Returns the key and completion of each request.
Generate = Callable[[Sequence[Request], Sampling], list[tuple[str, Completion]]]
SHORT, LONG = 30, 250
# Advice if a rule rejects most of the outputs.
REMEDIES = {
    "rule_4_no_query": "take another model, which writes a prompt where one is asked for",
    "rule_5_too_short": f"give seeds of {SHORT} characters or more, with final punctuation",
    "rule_5_too_long": f"give seeds of at most {LONG} characters",
    "rule_5_cut_off": "raise prompt_generation.max_new_tokens, or give shorter seeds",
    "rule_6_overlap": "raise prompt_generation.overlap_threshold, or give more varied seeds",
    "server_refused": "mend the server; the log has what it said",
    "server_withheld": "give seeds that the server's filter lets pass, or take another server",
}


def build_prompt_request(instruction: str, shots: Sequence[str]) -> tuple[str, str]:
    """Rule 2: the instruction, a blank line, a line "Query: ..." a shot, then a bare "Query:".

    Returns the part that all requests share, and the rest.
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

    None if there is no prompt.

    original: the first line that starts with "Query:". As the request already ends in "Query:",
        this loses the model's first query and takes the second.
    corrected: the first line, which continues the request's own "Query:".
    """
    if rules == "original":
        lines = [line for line in output.split("\n") if line.startswith("Query:")]
        line = lines[0].removeprefix("Query:") if lines else ""
    else:
        line = output.split("\n", 1)[0]
    prompt = re.split("query:", line, maxsplit=1, flags=re.IGNORECASE)[0].strip()
    return prompt or None


def find_prompt_end(prompt: str, completion: Completion) -> str:
    """Tell what ended a first line: what ended the output, unless the line ended earlier."""
    last = "\n" not in completion.text and completion.text.rstrip().endswith(prompt)
    return completion.finish_reason if last else "stop"


def check_prompt_length(prompt: str, finish_reason: str, rules: Rules) -> RuleVerdict:
    """Rule 5: drop prompts that are too short, too long or cut off.

    original: drops those shorter than 30 characters without final punctuation, and those longer
        than 250 characters *with* it (a double negation), but none that the token limit cut off.
    corrected: drops those shorter than 30 or longer than 250 characters without final punctuation,
        and those that the token limit cut off. Characters and punctuation are those of the prompt's
        script (`scripts`). Where sentences end without a mark, 15 characters are enough, and no
        prompt is too long.
    """
    if rules == "original":
        return _check_original_length(prompt)
    length, finished = measure_length(prompt), ends_sentence(prompt)
    unmarked = can_end_without_mark(prompt)
    size = f"{len(prompt)} characters, {'with' if finished else 'without'} final punctuation"
    if length < (SHORT / 2 if unmarked else SHORT) and not finished:
        return RuleVerdict("rule_5_too_short", size)
    if length > LONG and not finished and not unmarked:
        return RuleVerdict("rule_5_too_long", size)
    if finish_reason == "length":
        return RuleVerdict("rule_5_cut_off", f"ended by the token limit after {size}")
    return RuleVerdict()


def _check_original_length(prompt: str) -> RuleVerdict:
    finished = prompt.endswith((".", "?", "!"))
    size = f"{len(prompt)} characters, {'with' if finished else 'without'} final punctuation"
    if len(prompt) < SHORT and not finished:
        return RuleVerdict("rule_5_too_short", size)
    if len(prompt) > LONG and finished:
        return RuleVerdict("rule_5_too_long", size)
    return RuleVerdict()


def check_overlap(prompt: str, index: OverlapIndex, tokenize: Tokenize) -> RuleVerdict:
    """Rule 6: drop a prompt with ROUGE-L F >= 0.5 with any seed or accepted prompt.

    original: on the pieces of a lower-cased WordPiece vocabulary.
    corrected: on lower-cased words and punctuation marks.
    The caller's `tokenize` decides which.
    """
    found = index.find(tokenize(prompt))
    if found is None:
        return RuleVerdict()
    return RuleVerdict("rule_6_overlap", f"ROUGE-L F {found[1]:.3f} with {found[0]}")


def format_prompts_txt(prompts: Sequence[Prompt]) -> str:
    """Rule 7: the prompts as text, one a line; characters that can't be printed become spaces."""
    texts = ["".join(c if c.isprintable() else " " for c in p["text"]) for p in prompts]
    return "".join(" ".join(text.split()) + "\n" for text in texts)


@dataclass
class PromptRun:
    """The result of prompt generation."""

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

    Each round draws its shots from the pool as it was before the round. So neither the engine's
    batch size nor its speed changes the requests. Raises UserError at the bound on requests, with
    the rejections by rule.

    Args:
        seed: Draws the shots and the tokens.
        tokenizers: For rule 6; without the other set's, it is judged with this set's.
        on_round: Called after each round with the number of prompts accepted so far.
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
    """Draw a request's shots without replacement; return their ids and the request.

    Args:
        pool: Ids and texts of seeds and accepted prompts.
        number: Which request of the run this is. It draws the shots, together with the seed, and
            lets repeated texts draw their own tokens.
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

    def verdict(self, prompt: str | None, completion: Completion, rules: Rules) -> RuleVerdict:
        """Return one rule set's verdict on an extracted prompt."""
        if not (served := check_served(completion.finish_reason)).kept:
            return served
        if prompt is None:
            return RuleVerdict("rule_4_no_query", "no prompt in the output")
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
            verdict = other = RuleVerdict(
                "surplus", f"{options.n_prompts} prompts were accepted before"
            )
        run.ledger += make_ledger_rows(request_id, self.rules, verdict, other, note)
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
    """Count the rejections by rule when too few prompts were accepted."""
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
