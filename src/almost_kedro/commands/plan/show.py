"""What `kedro plan` prints: a table of all programs, their sum, assumptions and warnings."""

from __future__ import annotations

from typing import Final

from rich.console import Group, RenderableType
from rich.text import Text

from almost_kedro.commands.plan.assumptions import describe_assumptions
from almost_kedro.commands.terminal import draw_table
from almost_kedro.costs.planned import Plan, PlannedStep
from almost_kedro.pages.table import MISSING, Table
from almost_kedro.rows.visible_text import make_line

HEADS = (
    "step",
    "model",
    "requests",
    "prompt tokens",
    "shared",
    "new",
    "read",
    "trained on",
    "seconds",
    "peak MB",
)
# What the plan's document calls the columns of tokens.
TOKENS: Final = (
    "prompt_tokens",
    "prefix_tokens",
    "new_tokens",
    "forward_tokens",
    "training_tokens",
)


def draw_plan(plan: Plan) -> RenderableType:
    """Draw a plan."""
    rows = [*map(write_step, plan["steps"]), write_start(plan), write_sum(plan)]
    table = Table("", HEADS, rows, texts=(1,), strong=(len(rows) - 1,))
    lines = [Text(f"for {make_line(plan['machine'])}"), Text("")]
    warnings = [Text(make_line(line), style="bold") for line in list_warnings(plan)]
    notes = [Text(make_line(line)) for line in plan["notes"]]
    assumed = [Text("assumed:", style="bold")]
    assumed += [Text(f"  {line}") for line in describe_assumptions(plan["assumptions"])]
    return Group(*lines, draw_table(table), Text(""), *warnings, *notes, *assumed)


def write_step(step: PlannedStep) -> list[str]:
    """Write a program's row."""
    name = step["step"].replace("_", " ")
    return [
        f"{name} ({step['program']})" if step["program"] else name,
        step["model"],
        show(step["requests"]),
        *(show(step[kind] or None) for kind in TOKENS),
        show(step["seconds"]),
        show(step["memory_mb"]),
    ]


def write_start(plan: Plan) -> list[str]:
    """Write what starting all programs takes."""
    cells = [f"starting {plan['processes']} processes", *[""] * (len(HEADS) - 3)]
    return [*cells, show(plan["start_seconds"]), ""]


def write_sum(plan: Plan) -> list[str]:
    """Write the sum of all rows; of memory, the most that any needs."""
    steps = plan["steps"]
    sums = [show(sum(step["requests"] or 0 for step in steps))]
    sums += [show(sum(step[kind] for step in steps)) for kind in TOKENS]
    seconds = sum(step["seconds"] or 0 for step in steps) + plan["start_seconds"]
    least = "at least " if any(step["seconds"] is None for step in steps) else ""
    most = max((step["memory_mb"] or 0 for step in steps), default=0)
    return ["all", "", *sums, f"{least}{show(seconds)} ({write_time(seconds)})", show(most)]


def list_warnings(plan: Plan) -> list[str]:
    """Say which programs need more memory than there is."""
    return [
        f"warning: {' '.join(filter(None, (step['step'], step['program'])))} needs about "
        f"{step['memory_mb']:,.0f} MB, and there are {plan['machine_mb']:,.0f}: {find_remedy(step)}"
        for step in plan["steps"]
        if (step["memory_mb"] or 0) > plan["machine_mb"]
    ]


def find_remedy(step: PlannedStep) -> str:
    """Say what lowers a program's memory."""
    if step["kind"] == "generate":
        return "take a smaller model, or spread it (generation.tensor_parallel)"
    if step["kind"] in ("reward", "sft", "rl", "dpo"):
        return "lower its batch_size, set gradient_checkpointing, or launch on more ranks"
    return "take a smaller model"


def write_time(seconds: float) -> str:
    """Write seconds as hours and minutes."""
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{minutes} min"


def show(value: float | None) -> str:
    """Write a whole number with thousands apart; a dash if there is none."""
    return MISSING if value is None else f"{value:,.0f}"
