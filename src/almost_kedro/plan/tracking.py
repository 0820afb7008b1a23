"""What programs took, beside what was planned for them, as metrics of a run."""

from __future__ import annotations

from typing import Any

from almost_kedro.pages.report.costs import list_costs
from almost_kedro.plan.document import Plan, Planned, list_planned, nest


def nest_actual(plan: Plan, dataset: str, data: Any) -> dict[str, Any]:
    """Return what the programs of a dataset took, under the names of the plan.

    Args:
        plan: The plan.
        dataset: Name of what was saved.
        data: It; metrics have their programs' costs, other data none.
    """
    planned = list_planned(plan)
    return nest(
        {
            (cost.step, cost.program): Planned(
                cost.asked, cost.tokens or 0, cost.seconds, cost.peak_mb
            )._asdict()
            for cost in list_costs({dataset: data})
            if (cost.step, cost.program) in planned
        }
    )
