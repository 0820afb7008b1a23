"""Rule audit: does a reward model that never saw a rule of thumb come to agree with it?

A rule that follows from the others is learnt from them. Any other rule stands alone, or is wrong.
Agreement is always beside the floors: length alone may carry a rule.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast

from almost_kedro.evaluation.reward_report import (
    LIKE_LENGTH,
    name_edge,
    name_factors,
    report_reward_model,
)
from almost_kedro.rows.feedback import Comparison
from almost_kedro.rows.metrics import LeftOut, RewardModelMetrics, RuleAudit
from almost_kedro.rows.training import Split

# The reward models of the audit are trained on the prompts of `reward_model`, never on these.
UNSEEN: tuple[Split, ...] = ("held_out", "held_out_reward_model")
Kind = Literal["by_edge", "by_factor"]
KINDS: Mapping[Kind, Callable[[Comparison], str]] = {
    "by_edge": name_edge,
    "by_factor": name_factors,
}
SHOWN = (
    "n",
    "n_prompts",
    "accuracy",
    "floors",
    "best_floor",
    "above_best_floor",
    "length_matched",
)


@dataclass(frozen=True)
class AuditCase:
    """A rule to leave out; does a reward model without it come to agree with it?

    Attributes:
        kind: Whether an edge is left out, or all pairs that differ in exactly these factors.
        name: The edge, or the factors.
        train: What is left to train on.
        test: What was left out, from prompts that are not trained on.
    """

    kind: Kind
    name: str
    train: Sequence[Comparison]
    test: Sequence[Comparison]

    @property
    def key(self) -> tuple[Kind, str]:
        """Tells cases apart."""
        return self.kind, self.name


def plan_audit(train: Sequence[Comparison], unseen: Sequence[Comparison]) -> list[AuditCase]:
    """Plan to leave out each edge, and each set of factors, that there are comparisons of."""
    return [
        AuditCase(
            kind,
            name,
            train=[row for row in train if name_part(row) != name],
            test=[row for row in unseen if name_part(row) == name],
        )
        for kind, name_part in KINDS.items()
        for name in sorted({name_part(row) for row in (*train, *unseen)})
    ]


def group_cases(cases: Sequence[AuditCase]) -> list[list[AuditCase]]:
    """Group the testable cases by their training rows: one reward model serves a group.

    If only one edge has its factors, both are left out together.
    """
    groups: dict[tuple[str, ...], list[AuditCase]] = {}
    for case in cases:
        if case.train and case.test:
            rows = tuple(row["comparison_id"] for row in case.train)
            groups.setdefault(rows, []).append(case)
    return list(groups.values())


def report_audit(
    cases: Sequence[AuditCase],
    margins: Mapping[tuple[Kind, str], Mapping[str, float]],
    seed: int,
    tolerance: float = LIKE_LENGTH,
) -> RuleAudit:
    """Report how often each reward model agrees with the rule it was trained without.

    Args:
        margins: Reward of the chosen answer - that of the rejected one (log-odds), by the key of
            the case and by comparison_id.
        tolerance: Largest difference of like lengths; see `report_reward_model`.
    """
    report = RuleAudit(by_edge={}, by_factor={})
    for case in cases:
        found = LeftOut(n_trained_on=len(case.train), n=len(case.test))
        if not case.test:
            found["note"] = "not tested: no comparisons of unseen prompts"
        elif not case.train:
            found["note"] = "not tested: nothing is left to train on"
        else:
            full = report_reward_model(case.test, margins[case.key], case.train, seed, tolerance)
            found = select_shown(full, case.train)
        report[case.kind][case.name] = found
    return report


def select_shown(full: RewardModelMetrics, train: Sequence[Comparison]) -> LeftOut:
    """Select the figures shown of a reward model that was trained without something."""
    shown = {name: value for name, value in full.items() if name in SHOWN}
    return cast(LeftOut, {"n_trained_on": len(train), **shown})


def tabulate_audit(report: RuleAudit) -> list[str]:
    """Return the report as lines of text."""
    lines = ["rule audit: agreement of a reward model that was trained without the rule"]
    lines.append("  agreement (95 %)    best floor             n  trained on  left out")
    for kind in KINDS:
        for name, found in report[kind].items():
            counts = f"{found['n']:5}  {found['n_trained_on']:10}  {name}"
            if "note" in found:
                lines.append(f"  {found['note']:39} {counts}")
                continue
            accuracy, best = found["accuracy"], found["best_floor"]
            share = f"{accuracy['value']:.2f} ({accuracy['low']:.2f} to {accuracy['high']:.2f})"
            floor = f"{found['floors'][best]['value']:.2f} {best.replace('_', ' ')}"
            lines.append(f"  {share:19} {floor:19} {counts}")
    return lines
