"""Synthetic comparisons (rules 14 to 18): the rubric says which answer of a pair is better."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from statistics import mean

from almost_kedro.contract import row_id
from almost_kedro.errors import UserError
from almost_kedro.feedback.ledger import KEPT, RuleVerdict, make_ledger_rows, other_rules
from almost_kedro.feedback.length_control import balance_edges, check_heuristic, check_like_length
from almost_kedro.feedback.responses import usable_ids
from almost_kedro.options.feedback import ComparisonOptions
from almost_kedro.options.rules import Rules
from almost_kedro.rows.feedback import Assistant, Comparison, Factor, LedgerRow, Prompt, Response
from almost_kedro.rows.metrics import ComparisonsMetrics, EdgeCount

UNUSABLE = RuleVerdict("rule_15_unusable_answer", "an answer of this pair is empty or BAD")
NOTHING_TO_COMPARE = "rule_15_nothing_to_compare"
# Ledger rows of prompts, of answers, and of pairs that only the other rule set would consider.
NOT_RANKED = "rule_14_not_in_rubric"
NOT_CANDIDATES = (UNUSABLE.rule, NOTHING_TO_COMPARE, NOT_RANKED)


def list_levels(rubric: Sequence[str | Sequence[str]]) -> list[list[str]]:
    """Return the assistants of each level of a rubric, best first; a nested list is a tie."""
    return [[level] if isinstance(level, str) else list(level) for level in rubric]


def rank_rubric(
    rubric: Sequence[str | Sequence[str]], assistants: Sequence[Assistant]
) -> dict[str, int]:
    """Rule 14: give each assistant of the rubric its rank, 0 for the best; a nested list is a tie.

    Raises UserError if an assistant is unknown or named twice, if there is only one level, or if an
    off-topic assistant is among the best.
    """
    known = {assistant["name"]: assistant for assistant in assistants}
    ranks: dict[str, int] = {}
    for rank, level in enumerate(list_levels(rubric)):
        for name in level:
            if name not in known:
                raise UserError(
                    f"option comparisons.rubric: unknown assistant {name!r}; "
                    f"response_generation.assistants makes {', '.join(known)}"
                )
            if name in ranks:
                raise UserError(f"option comparisons.rubric: {name!r} is named twice; keep one")
            ranks[name] = rank
    levels = len(set(ranks.values()))
    if levels < 2:
        raise UserError(
            f"option comparisons.rubric: found {levels} level, and nothing can be compared; "
            "name at least two, best first"
        )
    for name, rank in ranks.items():
        if rank == min(ranks.values()) and known[name]["off_topic"]:
            raise UserError(
                f"option comparisons.rubric: {name!r} is off topic and can't be the best; put an "
                "assistant that answers the prompt before it"
            )
    return ranks


def rank_answers(
    answers: Sequence[Response], ranks: Mapping[str, int], usable: set[str]
) -> list[tuple[int, Response]]:
    """Rule 15: drop empty and BAD answers, and sort the others by rank (stable)."""
    kept = [
        (ranks[row["assistant"]], row)
        for row in answers
        if row["response_id"] in usable and row["assistant"] in ranks
    ]
    return sorted(kept, key=lambda pair: pair[0])


def walk_pairs(
    ranked: Sequence[tuple[int, Response]], options: ComparisonOptions, rules: Rules
) -> Iterator[tuple[Response, Response, RuleVerdict]]:
    """Rule 16: yield chosen, rejected and verdict of all pairs, best first; equal ranks never meet.

    original (`pairs: nearest`): each rank is chosen at most once, so an answer meets only the
        nearest lower answer that passes the length control.
    corrected (`pairs: all` by default): every pair that passes the length control.
    """
    texts = [answer["text"] for _, answer in ranked]
    used: set[int] = set()
    for (rank, chosen), (lower, rejected) in combinations(ranked, 2):
        if rank == lower:
            continue
        verdict = RuleVerdict()
        if options.pairs == "nearest" and rank in used:
            verdict = RuleVerdict("rule_16_chosen_once", f"rank {rank} was chosen in a pair before")
        elif options.length_control == "heuristic":
            verdict = check_heuristic(chosen["text"], rejected["text"], texts, rules)
        elif options.length_control == "matched":
            tolerance = options.length_tolerance
            verdict = check_like_length(chosen["text"], rejected["text"], tolerance)
        if verdict.kept:
            used.add(rank)
        yield chosen, rejected, verdict


def find_factors(chosen: Assistant, rejected: Assistant) -> list[Factor]:
    """Name the factors in which two assistants differ.

    Some shots of demonstrations and a bare question differ in the number of shots alone.
    """
    factors: list[Factor] = []
    if chosen["model"] != rejected["model"]:
        factors.append("size")
    more_shots = chosen["shots"] != rejected["shots"]
    if more_shots:
        factors.append("shots")
    demonstrations = {chosen["demonstrations"], rejected["demonstrations"]}
    if len(demonstrations) > 1 and not (more_shots and "" in demonstrations):
        factors.append("demonstrations")
    if chosen["off_topic"] != rejected["off_topic"]:
        factors.append("topic")
    return factors


def build_comparison(
    prompt: Prompt, chosen: Response, rejected: Response, assistants: Mapping[str, Assistant]
) -> Comparison:
    """Rule 18: make a row of prompt, chosen, rejected and both assistants, with their ids."""
    better, worse = chosen["assistant"], rejected["assistant"]
    return Comparison(
        comparison_id=row_id("comparison", chosen["response_id"], rejected["response_id"]),
        prompt_id=prompt["prompt_id"],
        prompt=prompt["text"],
        chosen=chosen["text"],
        rejected=rejected["text"],
        chosen_id=chosen["response_id"],
        rejected_id=rejected["response_id"],
        chosen_assistant=better,
        rejected_assistant=worse,
        factors=find_factors(assistants[better], assistants[worse]),
    )


def list_parents(pair: Comparison | None) -> list[str]:
    """Return the ids of a pair's prompt and answers; without a pair, none."""
    return [pair["prompt_id"], pair["chosen_id"], pair["rejected_id"]] if pair else []


def judge_pairs(
    prompts: Sequence[Prompt],
    responses: Sequence[Response],
    assistants: Sequence[Assistant],
    usable: set[str],
    options: ComparisonOptions,
    rules: Rules,
) -> tuple[dict[str, Comparison], dict[str, RuleVerdict]]:
    """Apply rules 14 to 18 and the length control to all prompts.

    Returns pairs by comparison_id, and verdicts on them and, by prompt_id, on prompts without a
    pair.
    """
    by_name = {assistant["name"]: assistant for assistant in assistants}
    ranks = rank_rubric(options.rubric, assistants)
    answers = defaultdict(list)
    for row in responses:
        answers[row["prompt_id"]].append(row)
    candidates: dict[str, Comparison] = {}
    verdicts: dict[str, RuleVerdict] = {}
    for prompt in prompts:
        ranked = rank_answers(answers[prompt["prompt_id"]], ranks, usable)
        if len({rank for rank, _ in ranked}) < 2:
            detail = f"{len(ranked)} usable answers on fewer than two ranks"
            verdicts[prompt["prompt_id"]] = RuleVerdict(NOTHING_TO_COMPARE, detail)
        for chosen, rejected, verdict in walk_pairs(ranked, options, rules):
            pair = build_comparison(prompt, chosen, rejected, by_name)
            candidates[pair["comparison_id"]] = pair
            verdicts[pair["comparison_id"]] = verdict
    if options.length_control == "matched":
        verdicts |= balance_edges([row for key, row in candidates.items() if verdicts[key].kept])
    return candidates, verdicts


def check_origin(
    prompts: Sequence[Prompt],
    responses: Sequence[Response],
    ledger_responses: Sequence[LedgerRow],
    rules: Rules,
) -> None:
    """Raise UserError for answers to other prompts, or answers cut by the other rule set."""
    known = {prompt["prompt_id"] for prompt in prompts}
    strangers = sum(row["prompt_id"] not in known for row in responses)
    if strangers:
        raise UserError(
            f"responses: {strangers} of {len(responses)} answer prompts that are not in this "
            "version of prompts; load the versions of one run, with --load-versions prompts:V"
        )
    if any(row["rule"] != row[rules] for row in ledger_responses):
        raise UserError(
            f"responses: made under the other rule set than `rules: {rules}`; run write_responses "
            "again (what was generated is kept), or set the option back"
        )


def make_comparisons(
    prompts: Sequence[Prompt],
    responses: Sequence[Response],
    ledger_responses: Sequence[LedgerRow],
    assistants: Sequence[Assistant],
    options: ComparisonOptions,
    rules: Rules,
) -> tuple[list[Comparison], list[LedgerRow]]:
    """Make the comparisons, and enter every pair and prompt that gave none into the ledger.

    The ledger compares with the other rule set as its user would run it: `original` with nearest
    pairs and the heuristic, `corrected` with all pairs of matched length.
    """
    check_origin(prompts, responses, ledger_responses, rules)
    found = {}
    for each in (rules, other_rules(rules)):
        usable = usable_ids(responses, ledger_responses, each)
        chosen = options if each == rules else options.as_run_by(each)
        found[each] = judge_pairs(prompts, responses, assistants, usable, chosen, each)
    candidates, verdicts = found[rules]
    others, other_verdicts = found[other_rules(rules)]
    ledger: list[LedgerRow] = []
    prompt_ids = {prompt["prompt_id"] for prompt in prompts}
    for key, verdict in verdicts.items():
        absent = RuleVerdict() if key in prompt_ids else UNUSABLE
        parents = [] if verdict.kept else list_parents(candidates.get(key))
        ledger += make_ledger_rows(
            key, rules, verdict, other_verdicts.get(key, absent), parent_ids=parents
        )
    for key, verdict in other_verdicts.items():
        if key not in verdicts and verdict.kept:
            ledger += make_ledger_rows(
                key, rules, UNUSABLE, verdict, parent_ids=list_parents(others[key])
            )
        elif key not in verdicts and key in prompt_ids:
            ledger += make_ledger_rows(key, rules, RuleVerdict(), verdict)
    ranks = rank_rubric(options.rubric, assistants)
    for row in responses:
        if row["assistant"] not in ranks and row["verdict"] == KEPT:
            unranked = RuleVerdict(NOT_RANKED, f"{row['assistant']} is not in comparisons.rubric")
            ledger += make_ledger_rows(row["response_id"], rules, unranked)
    comparisons = [row for key, row in candidates.items() if verdicts[key].rule == KEPT]
    return comparisons, ledger


def summarise_comparisons(
    comparisons: Sequence[Comparison], ledger: Sequence[LedgerRow]
) -> ComparisonsMetrics:
    """Count comparisons by edge and factor, with the share in which the longer answer is chosen."""
    dropped = sum(row["rule"] not in (KEPT, *NOT_CANDIDATES) for row in ledger)
    edges = defaultdict(list)
    for row in comparisons:
        edges[f"{row['chosen_assistant']}-vs-{row['rejected_assistant']}"].append(
            len(row["chosen"]) > len(row["rejected"])
        )
    factors = Counter(factor for row in comparisons for factor in row["factors"])
    longer = [value for values in edges.values() for value in values]
    return ComparisonsMetrics(
        n_comparisons=len(comparisons),
        n_candidates=len(comparisons) + dropped,
        n_dropped=dropped,
        chosen_longer=round(mean(longer), 4) if longer else None,
        edges={
            name: EdgeCount(n=len(values), chosen_longer=round(mean(values), 4))
            for name, values in edges.items()
        },
        factors=dict(sorted(factors.items())),
    )
