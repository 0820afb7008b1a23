"""What the rule sets `original` and `corrected` would treat differently, from the ledgers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from almost_kedro.feedback.ledger import KEPT
from almost_kedro.pages.report.samples import cut, spread
from almost_kedro.pages.table import MISSING, Table
from almost_kedro.rows.feedback import LedgerRow

Ledgers = Mapping[str, Sequence[LedgerRow]]
# What each rule drops, in words.
RULES = {
    "contaminated": "repeats a benchmark item",
    "matched_balance": "one too many: the chosen answer shall be longer in half of an edge's pairs",
    "matched_length": "the answers' lengths differ by too much",
    "matched_tie": "both answers are of one length",
    "rule_4_no_query": "a prompt without a query",
    "rule_5_cut_off": "a prompt that the token limit cut off",
    "rule_5_too_long": "a prompt that is too long",
    "rule_5_too_short": "a prompt that is too short",
    "rule_6_overlap": "a prompt that is too much like an earlier one",
    "rule_12_empty": "an answer of nothing",
    "rule_12_open_end": "an answer that ends in a question mark or a colon",
    "rule_12_phrase": "an answer that says it doesn't know, or goes on for the human",
    "rule_12_repeats": "an answer that repeats itself",
    "rule_12_short": "an answer of less than 50 characters",
    "rule_12_unfinished": "an answer that ends within a sentence",
    "rule_12_well": "an answer that starts with 'well'",
    "rule_14_not_in_rubric": "an answer of an assistant that the rubric does not rank",
    "rule_15_nothing_to_compare": "a prompt with fewer than two ranks of usable answers",
    "rule_15_unusable_answer": "a pair with an answer that was dropped",
    "rule_16_chosen_once": "a pair whose chosen answer was chosen before",
    "rule_17_heuristic": "a pair whose chosen answer is suspiciously short",
    "rule_19_identical": "a pair of equal texts",
    "rule_24_long_question": "a question of the simulated user that is too long",
    "rule_24_no_question": "no question of the simulated user",
    "rule_24_repeated_question": "a question that the simulated user asked before",
    "rule_24_unfinished_question": "a question that the token limit cut off",
    "rule_25_post_validation": "a pair that the as-is reward model disagrees with",
    "server_refused": "a request that a server refused",
    "server_withheld": "an answer that a server's content filter kept back",
    "surplus": "one more than was asked for",
}
# Rows shown of each ledger, and characters of what was found, which may quote what a model wrote.
SAMPLES = 3
LONGEST = 200


def tabulate_drops(ledgers: Ledgers) -> Table:
    """Count what each rule in force dropped."""
    rows = [
        (_name_step(name), rule, RULES.get(rule, MISSING), f"{n:,}")
        for name, ledger in ledgers.items()
        for rule, n in Counter(row["rule"] for row in ledger if row["rule"] != KEPT).most_common()
    ]
    heads = ("step", "rule", "what it drops", "rows")
    return Table("What the rules in force dropped", heads, tuple(rows), texts=(1, 2))


def tabulate_rule_sets(ledgers: Ledgers) -> Table:
    """Count rows that one rule set keeps and the other drops, or keeps with another text."""
    rows = []
    for name, ledger in ledgers.items():
        counts = Counter((row["original"], row["corrected"]) for row in ledger if differs(row))
        for verdicts, n in counts.most_common():
            original, corrected = map(_explain, verdicts)
            rows.append((_name_step(name), original, corrected, f"{n:,}"))
    heads = ("step", "original rules", "corrected rules", "rows")
    return Table("Rows that the rule sets treat differently", heads, tuple(rows), texts=(1, 2))


def sample_rule_sets(ledgers: Ledgers) -> Table:
    """Show some of these rows, spread evenly over each ledger."""
    rows = [
        (
            row["row_id"],
            _name_step(name),
            _show(row["original"]),
            _show(row["corrected"]),
            cut(row["detail"], LONGEST),
        )
        for name, ledger in ledgers.items()
        for row in spread([row for row in ledger if differs(row)], SAMPLES)
    ]
    heads = ("row", "step", "original rules", "corrected rules", "what was found")
    return Table("Some of these rows", heads, tuple(rows), texts=(1, 2, 3, 4))


def differs(row: LedgerRow) -> bool:
    """Say whether only one rule set drops a row, or both keep it with another text."""
    return KEPT in (row["original"], row["corrected"])


def _name_step(ledger: str) -> str:
    return ledger.removeprefix("ledger_").replace("_", " ")


def _show(verdict: str) -> str:
    return "kept" if verdict == KEPT else verdict


def _explain(verdict: str) -> str:
    return f"dropped: {RULES[verdict]} ({verdict})" if verdict in RULES else _show(verdict)
