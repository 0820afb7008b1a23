"""Dataset card and model card: markdown with a YAML head, by the conventions of the hub.

What is put into them is data, as in the pages: everything but the template's own words is escaped,
so that neither HTML nor markdown in a name or a text acts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from markupsafe import Markup

from almost_kedro.evaluation.model_report import show_judge
from almost_kedro.evaluation.stages import APART, TRAINED
from almost_kedro.feedback.responses import STOPS
from almost_kedro.pages.render import open_templates
from almost_kedro.pages.report.caveats import list_caveats
from almost_kedro.pages.report.provenance import RunRecord
from almost_kedro.pages.report.samples import cut
from almost_kedro.pages.report.tables import tabulate_edges, tabulate_models, tabulate_rewards
from almost_kedro.pages.report.verdict import reach_verdict
from almost_kedro.pages.table import Table
from almost_kedro.rows.feedback import Comparison
from almost_kedro.rows.metrics import Documents
from almost_kedro.rows.visible_text import make_line, make_visible

# What acts in markdown, and starts a link, a mention or an issue on the hub.
ACTIVE = re.compile(r"([\\`*_\[\]<>&|~#$@!])")
# A link that is not written as one.
LINK = re.compile(r"(?i)://|(?<=www)\.")
SIZES = {"": 0, "1K": 1_000, "10K": 10_000, "100K": 100_000, "1M": 1_000_000, "10M": 10_000_000}
UNKNOWN = "unknown"


def write_dataset_card(
    run: RunRecord, metrics: Documents, comparisons: Sequence[Comparison]
) -> str:
    """Write the card of the prompts and the comparisons; the first one is shown."""
    options = run["options"]
    head = {
        "pretty_name": "Synthetic comparisons by almost_kedro",
        "license": UNKNOWN,
        "task_categories": ["text-generation"],
        "tags": ["synthetic", "preference", "comparisons", "alignment"],
        "size_categories": [name_size(len(comparisons))],
        "configs": [
            {"config_name": name, "data_files": f"{name}.jsonl"}
            for name in ("comparisons", "prompts")
        ],
    }
    return fill_card(
        "dataset_card.md",
        head,
        run=run,
        assistants=[name_assistant(each) for each in options["response_generation"]["assistants"]],
        licenses=list_licenses(options),
        prompts=metrics["prompts_metrics"],
        comparisons=metrics["comparisons_metrics"],
        edges=tabulate_edges(metrics["comparisons_metrics"], metrics["reward_model_metrics"]),
        example={
            name: quote(cut(comparisons[0][name])) for name in ("prompt", "chosen", "rejected")
        }
        if comparisons
        else {},
        contamination=metrics["evaluation_metrics"]["contamination"],
    )


def write_model_card(run: RunRecord, metrics: Documents) -> str:
    """Write the card of the aligned models: the SFT policy, the RL policy, and what is beside."""
    options = run["options"]
    name = options["sft"]["model"]
    entry = options["models"][name]
    head = {
        "license": name_license(entry),
        **({"base_model": entry["id"]} if entry["source"] == "hub" else {}),
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["trl", "sft", options["rl"]["algorithm"], "alignment", "synthetic-feedback"],
    }
    return fill_card(
        "model_card.md",
        head,
        run=run,
        base=name,
        license=entry.get("license") or UNKNOWN,
        terms=entry.get("terms"),
        aligned={True: "yes", False: "no", None: UNKNOWN}[entry.get("aligned")],
        lines=reach_verdict(metrics),
        caveats=list_caveats(metrics, options),
        models=tabulate_models(metrics["evaluation_metrics"]),
        rewards=tabulate_rewards(
            *(metrics[stage.metrics] for stage in TRAINED if stage.metrics in metrics)
        ),
        evaluation=metrics["evaluation_metrics"],
        judge=show_judge(metrics["evaluation_metrics"]["questions"]),
        self_play=metrics["self_play_metrics"],
        training=metrics["rl_policy_training_metrics"],
        apart=[s for s in APART if s.name in metrics["evaluation_metrics"]["models"]],
        plain=options.get("dialogue") != "chat_template",
        endings=list_endings(metrics),
        stop=[Markup(json.dumps(each)) for each in STOPS]  # noqa: S704 - our own constants
        if options["rules"] == "corrected"
        else [],
    )


def list_endings(metrics: Documents) -> list[dict[str, Any]]:
    """Return, by stage, how many answers to test prompts the policy's own end token ended.

    A run of before it was counted has none.
    """
    found = [
        (stage.name, metrics[stage.metrics]["policies"][stage.name])
        for stage in TRAINED
        if stage.metrics in metrics
    ]
    return [
        {
            "name": name,
            "n": rewards["n"],
            "ended": round(rewards["share_ended_by_eos"] * rewards["n"]),
        }
        for name, rewards in found
        if "share_ended_by_eos" in rewards
    ]


def name_size(rows: int) -> str:
    """Return the hub's name of a number of rows."""
    for lower, upper in pairwise(SIZES):
        if rows < SIZES[upper]:
            return f"{lower}<n<{upper}" if lower else f"n<{upper}"
    return f"n>{list(SIZES)[-1]}"


def name_license(entry: Mapping[str, Any]) -> str:
    """Return the hub's identifier of a model's licence; unknown if models.yml doesn't state it."""
    found = entry.get("license")
    if not found:
        return UNKNOWN
    # Terms of their own have no identifier.
    return "other" if entry.get("terms") else str(found).lower()


def name_assistant(assistant: Mapping[str, Any]) -> str:
    """Return an assistant in words."""
    if assistant["demonstrations"]:
        words = "{model}, demonstrations {demonstrations}, shots: {shots}".format(**assistant)
    else:
        words = f"{assistant['model']}, the bare question"
    if assistant.get("off_topic"):
        words += ", off topic: its answers to other prompts"
    return words


def list_licenses(options: Mapping[str, Any]) -> dict[str, str]:
    """Return the licence of each model that wrote prompts or answers, by name."""
    names = [options["prompt_generation"]["model"]]
    names += [each["model"] for each in options["response_generation"]["assistants"]]
    return {name: options["models"][name].get("license") or UNKNOWN for name in names}


def escape_markdown(value: Any) -> Any:
    """Escape what acts in markdown or HTML, on one line; numbers and our own markup stay."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return LINK.sub(r"\\\g<0>", ACTIVE.sub(r"\\\1", make_line(value)))


def quote(text: str) -> Markup:
    """Put a text into a block of code whose fence it can't close."""
    shown = make_visible(text)
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", shown)), default=0))
    return Markup(f"{fence}text\n{shown}\n{fence}")  # noqa: S704 - escaped by the fence


def write_table(table: Table) -> Markup:
    """Write a table in markdown."""
    rows = [table.heads, tuple("---" for _ in table.heads), *table.rows]
    lines = ["| " + " | ".join(map(escape_markdown, row)) + " |" for row in rows]
    return Markup("\n".join(lines))  # noqa: S704 - each cell is escaped


def fill_card(template: str, head: Mapping[str, Any], **values: Any) -> str:
    """Fill a template of a card; `head` is what the hub reads."""
    environment = open_templates(escape_markdown, autoescape=False)
    environment.filters["table"] = write_table
    return write_head(head, environment.get_template(template).render(values))


def write_head(head: Mapping[str, Any], body: str) -> str:
    """Put a head before a card's text."""
    # JSON is YAML.
    lines = "\n".join(f"{key}: {json.dumps(value)}" for key, value in head.items())
    return f"---\n{lines}\n---\n\n{body}"


def read_head(card: str) -> tuple[dict[str, Any], str]:
    """Read head and text of a card that `write_head` wrote."""
    _, lines, body = card.split("---\n", 2)
    pairs = (line.split(": ", 1) for line in lines.splitlines())
    return {key: json.loads(value) for key, value in pairs}, body.removeprefix("\n")
