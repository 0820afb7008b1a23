"""Node of `rule_audit`: asks reward models about rules of thumb that they never saw."""

from __future__ import annotations

import logging
import re

from almost_kedro.charts import training as charts
from almost_kedro.charts.style import Plot
from almost_kedro.evaluation.rule_audit import (
    UNSEEN,
    Kind,
    group_cases,
    plan_audit,
    report_audit,
    tabulate_audit,
)
from almost_kedro.feedback.reward_rows import build_reward_rows
from almost_kedro.feedback.splits import select_comparisons
from almost_kedro.jobs.margins import measure_margins
from almost_kedro.options.all import Options
from almost_kedro.processes.run import PLAIN
from almost_kedro.processes.workplace import Workplace
from almost_kedro.rows.feedback import Comparison
from almost_kedro.rows.metrics import RuleAudit
from almost_kedro.rows.training import PromptSplit

logger = logging.getLogger(__name__)


def audit_rules(
    reward_pairs: list[Comparison],
    prompt_splits: list[PromptSplit],
    options: Options,
    workplace: Workplace,
) -> tuple[RuleAudit, Plot]:
    """Ask reward models about the edge or the factors that their training left out.

    All have the options and the seed of the reward model, so that only the rows differ.
    """
    unseen = [
        row for split in UNSEEN for row in select_comparisons(reward_pairs, prompt_splits, split)
    ]
    train = select_comparisons(reward_pairs, prompt_splits, "reward_model")
    cases = plan_audit(train, unseen)
    margins: dict[tuple[Kind, str], dict[str, float]] = {}
    for group in group_cases(cases):
        tested = {row["comparison_id"]: row for case in group for row in case.test}
        name = "without_" + re.sub(r"[^\w.+-]+", "-", group[0].name)
        rows = build_reward_rows(group[0].train, options.rules)
        found = measure_margins(name, rows, list(tested.values()), options.seed, options, workplace)
        margins |= {case.key: found for case in group}
    report = report_audit(cases, margins, options.seed)
    for line in tabulate_audit(report):
        logger.info("%s", line, extra=PLAIN)
    return report, charts.draw_rule_audit(report)
