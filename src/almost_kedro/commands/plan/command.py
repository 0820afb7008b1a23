"""`kedro plan`: counts a run's work, estimates what it takes, prints it and keeps it."""

from __future__ import annotations

from typing import Any

from kedro.framework.context import KedroContext
from kedro.io import DataCatalog
from rich.text import Text

from almost_kedro.commands.plan.assumptions import Assumptions
from almost_kedro.commands.plan.fit import change, propose, write_proposal
from almost_kedro.commands.plan.planner import Planner
from almost_kedro.commands.plan.roofline import EXAMPLE, read_gpu_figures
from almost_kedro.commands.plan.show import draw_plan
from almost_kedro.commands.plan.workload import DEFAULT, PIPELINES
from almost_kedro.commands.terminal import open_console
from almost_kedro.costs.planned import COST_PLAN
from almost_kedro.errors import UserError
from almost_kedro.options.all import check_options
from almost_kedro.rows.visible_text import make_line


def plan_run(
    context: KedroContext, pipeline: str, gpu: str | None, anew: bool, fit: bool = False
) -> None:
    """Print and keep the plan of a run; with `fit`, under options that fit given GPUs.

    Args:
        context: Of its environment.
        pipeline: One that has a plan, or `__default__` for the five of a whole run.
        gpu: Figures of GPUs; None measures this machine.
        anew: Measure this machine even if that was done before.
        fit: Search these options, and print them.

    Raises:
        UserError: A pipeline that has no plan, a model that is not here, bad figures.
    """
    if pipeline not in (*PIPELINES, DEFAULT):
        raise UserError(
            f"pipeline {pipeline!r}: there is no plan for it; give one of {', '.join(PIPELINES)}, "
            "or none for all of them"
        )
    figures = read_gpu_figures(gpu) if gpu else None
    if fit and not figures:
        raise UserError(f"--fit: give the GPUs that it has to fit, --gpu {EXAMPLE}")
    catalog = context.catalog
    assert isinstance(catalog, DataCatalog)
    planner = Planner(check_options(context.config_loader["parameters"]), catalog)
    console = open_console()
    if fit and figures:
        proposal = propose(planner, figures, pipeline)
        planner.options = change(planner.options, proposal.changes)
        console.print(Text(write_proposal(proposal)))
    work = planner.count(Assumptions(), pipeline)
    machine, name = planner.take(figures) if figures else planner.measure(anew)
    plan = planner.make(work, machine, name)
    catalog.save(COST_PLAN, plan)
    console.print(draw_plan(plan))
    dataset: Any = catalog.get(COST_PLAN)
    console.print(Text(f"\nkept for the report: {make_line(str(dataset.load_path()))}"))
