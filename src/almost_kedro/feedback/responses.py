"""Prompted response generation (rules 8 to 13): every assistant answers every prompt."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from almost_kedro.contract import Completion, Sampling, row_id
from almost_kedro.errors import UserError
from almost_kedro.feedback.ledger import (
    KEPT,
    RuleVerdict,
    check_served,
    make_ledger_rows,
    other_rules,
)
from almost_kedro.feedback.off_topic import OFF_TOPIC
from almost_kedro.feedback.repetition import RUN, measure_repetition
from almost_kedro.feedback.scripts import ends_openly, find_other_ends, measure_length
from almost_kedro.options.evaluation import EvaluationOptions
from almost_kedro.options.feedback import AssistantOptions, ResponseGenerationOptions
from almost_kedro.options.rules import Rules
from almost_kedro.options.training import PolicyTestOptions
from almost_kedro.rows.feedback import Assistant, LedgerRow, Prompt, Response

SPLITTER = "\n\n-----"
# Where rule 11 cuts an answer; corrected stops there.
STOPS = (SPLITTER, "Assistant:", "Human:")
# How a line of a list begins; in Chinese and Japanese without a space.
LIST_ITEM = (
    r"[ \t\u3000]*(?:(?:[-*•]|\d+[.)])[ \t]+"
    r"|(?:\u30fb|[\d一二三四五六七八九十]+[\u3001\uff0e\uff09])[ \t\u3000]*)\S"
)


def read_demonstrations(text: str, name: str) -> tuple[str, list[str]]:
    """Rule 8, first half: split a file at the splitter into a header and demonstrations.

    Each demonstration keeps its leading blank line. Byte-order mark, Windows line ends and a
    missing final newline do no harm. Raises UserError if there is no demonstration.
    """
    text = text.lstrip("\ufeff").replace("\r\n", "\n").rstrip()
    header, *demonstrations = text.removesuffix(SPLITTER).split(SPLITTER)
    if not any(demonstration.strip() for demonstration in demonstrations):
        raise UserError(
            f"demonstrations {name!r}: found no demonstration; give a header, then each dialogue "
            "after a blank line and a line of five hyphens"
        )
    return header, [demonstration for demonstration in demonstrations if demonstration.strip()]


def build_prefix(text: str, name: str, shots: int, rules: Rules) -> str:
    """Rule 8: the header and the first n demonstrations, rejoined with a splitter at the end.

    original: n = 0 means all demonstrations.
    corrected: n = 0 means none.
    Both raise UserError if the file has too few demonstrations; the original silently took fewer.
    """
    header, demonstrations = read_demonstrations(text, name)
    if shots > len(demonstrations):
        raise UserError(
            f"demonstrations {name!r} ({name}_prompt.txt): found {len(demonstrations)}, but "
            f"an assistant asks for {shots} shots; add demonstrations or lower its shots"
        )
    if shots == 0 and rules == "original":
        shots = len(demonstrations)
    return SPLITTER.join([header, *demonstrations[:shots]]) + SPLITTER


def build_question(prompt: str, rules: Rules) -> str:
    r"""Rule 9: "\n\nHuman: {prompt}\n\nAssistant: " after the demonstrations.

    original: with a space at the end.
    corrected: without. Tokenizers attach a space to the next word. No demonstration shows a lone
        space before the answer; small models then start with digits or line breaks.
    """
    return end_dialogue(f"\n\nHuman: {prompt}\n\nAssistant:", rules)


def end_dialogue(dialogue: str, rules: Rules) -> str:
    """End a dialogue after "Assistant:" as a rule set does; see `build_question`."""
    return dialogue + (" " if rules == "original" else "")


def response_sampling(
    options: ResponseGenerationOptions | PolicyTestOptions | EvaluationOptions,
    max_new_tokens: int,
    rules: Rules,
    seed: int,
) -> Sampling:
    """Rule 10: temperature 1.0, top_p 0.9, one sample (the options' published values).

    original: 768 new tokens for Faithful, 384 otherwise (set in the options); no stop strings.
    corrected: one budget for all unless an assistant sets its own; stops where rule 11 cuts.
    """
    return Sampling(
        temperature=options.temperature,
        top_p=options.top_p,
        max_new_tokens=max_new_tokens,
        stop=STOPS if rules == "corrected" else (),
        seed=seed,
    )


def extract_answer(output: str, finish_reason: str, rules: Rules) -> str:
    """Rule 11: cut at the splitter, before "Assistant:", then before "Human:", and strip.

    The output is only what the model wrote. (The original looked for the request in the whole
    decoded text, did not find it, and stored the system header as the answer.)

    corrected: an answer that the token limit ended loses its unfinished last sentence or list line,
        for every assistant alike; otherwise most long answers would be dropped.
    """
    answer = output
    for mark in STOPS:
        answer = answer.split(mark, 1)[0]
    cut_off = finish_reason == "length" and answer == output
    answer = answer.strip()
    if rules == "corrected" and cut_off:
        answer = answer[: max([0, *find_ends(answer)])]
    return answer


def find_ends(answer: str) -> list[int]:
    """Find where a cut-off answer can end: after a sentence or a whole line of a list."""
    ends = find_other_ends(answer)
    for match in re.finditer(r"[.!?][\"')\]\u201d\u2019*_]*(?=\s|$)", answer):
        # One or two digits before a full stop are more often a list's number than a sentence's end.
        if not re.search(r"(?:^|\s)\d{1,2}$", answer[: match.start()]):
            ends.append(match.end())
    lines = re.finditer(rf"^{LIST_ITEM}[^\n]*(?=\n)", answer, re.MULTILINE)
    return ends + [match.end() for match in lines]


def check_answer(answer: str, finish_reason: str, rules: Rules) -> RuleVerdict:
    """Rule 12: find "BAD" answers; `check_served` comes first.

    original: shorter than 50 characters; ends in "?" or ":"; starts with "well" (any case); does
        not end in "." or "!"; contains "don't know", "do not know", "Human:" or "<Image>".
    corrected: "well" must be a word of its own (not "Wellness" or "well-being"). An answer that the
        model ended by itself may end in anything (a list, code, a quotation) except "?" and ":" of
        any script. Characters are counted as in `scripts`.
    """
    if not (served := check_served(finish_reason)).kept:
        return served
    if not answer:
        return RuleVerdict("rule_12_empty", f"nothing left; ended by {finish_reason}")
    if (len(answer) if rules == "original" else measure_length(answer)) < 50:
        return RuleVerdict("rule_12_short", f"{len(answer)} characters")
    if answer.endswith(("?", ":")) if rules == "original" else ends_openly(answer):
        return RuleVerdict("rule_12_open_end", f"ends in {answer[-1]!r}")
    if re.match("well" if rules == "original" else r"well\b(?!-)", answer, re.IGNORECASE):
        return RuleVerdict("rule_12_well", f"starts with {answer[:12]!r}")
    if rules == "original" and not answer.endswith((".", "!")):
        return RuleVerdict("rule_12_unfinished", f"ends in {answer[-12:]!r}")
    for phrase in ("don't know", "do not know", "Human:", "<Image>"):
        if phrase in answer:
            return RuleVerdict("rule_12_phrase", f"contains {phrase!r}")
    return RuleVerdict()


def name_assistant(options: AssistantOptions) -> str:
    """Rule 13: {model, lower case}-{demonstrations}-{n}shot, from the base name of the model.

    One that gets the bare question is {model, lower case}-bare, which the original did not have.
    """
    model = options.model.rsplit("/", 1)[-1].lower()
    shown = f"{options.demonstrations}-{options.shots}shot" if options.demonstrations else "bare"
    name = f"{model}-{shown}"
    return name + OFF_TOPIC if options.off_topic else name


def align_responses(
    prompts: Sequence[Prompt], responses: Sequence[Response]
) -> dict[str, list[str]]:
    """Rule 13: one list of answers a configuration, aligned with the prompts; a missing one is "".

    original wrote each list to its own file; ours is one file with the names as keys.
    """
    place = {prompt["prompt_id"]: i for i, prompt in enumerate(prompts)}
    names = dict.fromkeys(response["assistant"] for response in responses)
    aligned = {name: [""] * len(prompts) for name in names}
    for response in responses:
        aligned[response["assistant"]][place[response["prompt_id"]]] = response["text"]
    return aligned


def check_repetition(answer: str, max_repetition: float | None) -> RuleVerdict:
    """Find answers that repeat themselves; the paper's rules don't, and None finds none.

    A small model loops, and with demonstrations more often than without any (docs/findings.md).
    """
    if max_repetition is None or (found := measure_repetition(answer)) <= max_repetition:
        return RuleVerdict()
    detail = f"{found:.0%} of its runs of {RUN} words stood before"
    return RuleVerdict("rule_12_repeats", detail)


def judge_answer(
    answer_id: str, completion: Completion, rules: Rules, max_repetition: float | None = None
) -> tuple[str, RuleVerdict, list[LedgerRow]]:
    """Apply rules 11 and 12; return text and verdict of the set in force, and its ledger rows."""
    texts, verdicts = {}, {}
    for each in (rules, other_rules(rules)):
        texts[each] = extract_answer(completion.text, completion.finish_reason, each)
        verdicts[each] = check_answer(texts[each], completion.finish_reason, each)
        if each == "corrected" and verdicts[each].kept:
            verdicts[each] = check_repetition(texts[each], max_repetition)
    note = "" if texts["original"] == texts["corrected"] else "the sets cut it differently"
    other = verdicts[other_rules(rules)]
    return (
        texts[rules],
        verdicts[rules],
        make_ledger_rows(answer_id, rules, verdicts[rules], other, note),
    )


def build_responses(
    prompts: Sequence[Prompt],
    assistant: Assistant,
    completions: Iterable[tuple[str, Completion]],
    rules: Rules,
    max_repetition: float | None = None,
) -> tuple[list[Response], list[LedgerRow]]:
    """Make one assistant's rows, dropped ones included, and their ledger (rules 11 and 12).

    `completions` has one request key and completion a prompt; for the last argument see
    `check_repetition`.
    """
    rows: list[Response] = []
    ledger: list[LedgerRow] = []
    for prompt, (key, completion) in zip(prompts, completions, strict=True):
        response_id = row_id("response", key, prompt["prompt_id"], assistant["name"])
        text, verdict, entry = judge_answer(response_id, completion, rules, max_repetition)
        row = Response(
            response_id=response_id,
            prompt_id=prompt["prompt_id"],
            assistant=assistant["name"],
            text=text,
            finish_reason=completion.finish_reason,
            n_tokens=completion.n_tokens,
            verdict=verdict.rule,
            source_id="",
        )
        rows.append(row)
        ledger += entry
    return rows, ledger


def usable_ids(
    responses: Sequence[Response], ledger: Sequence[LedgerRow], rules: Rules
) -> set[str]:
    """Return the ids that a rule set keeps: the ledger has every answer that either set drops."""
    dropped = {row["row_id"] for row in ledger if row[rules] != KEPT}
    return {row["response_id"] for row in responses} - dropped
