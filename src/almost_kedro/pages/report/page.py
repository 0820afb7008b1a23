"""The page of the report: what goes where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from almost_kedro.charts.style import Plot
from almost_kedro.charts.training import draw_rule_audit
from almost_kedro.costs.actual import list_costs
from almost_kedro.costs.planned import Plan
from almost_kedro.evaluation.model_report import show_judge
from almost_kedro.evaluation.stages import TRAINED
from almost_kedro.evaluation.ways import compare_ways
from almost_kedro.pages.render import Script, read_asset, render_page
from almost_kedro.pages.report import costs, provenance, reward_models, rule_sets, samples, tables
from almost_kedro.pages.report.caveats import list_caveats
from almost_kedro.pages.report.charts import prepare_charts
from almost_kedro.pages.report.figures import Figure, prepare_figure
from almost_kedro.pages.report.human_votes import tabulate_human_votes
from almost_kedro.pages.report.numbers import drop_prefix
from almost_kedro.pages.report.preferences import tabulate_preferences
from almost_kedro.pages.report.provenance import RunRecord
from almost_kedro.pages.report.verdict import reach_verdict
from almost_kedro.rows.evaluation import JudgeVote, OpenAnswer, OpenItem
from almost_kedro.rows.evaluation_metrics import HumanVotesMetrics
from almost_kedro.rows.feedback import LedgerRow, Prompt
from almost_kedro.rows.metrics import Documents, RuleAudit
from almost_kedro.rows.training import PolicyAnswer

# Metrics that have assistants' names.
NAMING = ("comparisons_metrics", "reward_model_metrics")


@dataclass(frozen=True)
class Findings:
    """All that a run found, as the report shows it.

    Attributes:
        run: What the run is.
        metrics: Metrics datasets by name.
        plots: Plotly descriptions by dataset name.
        ledgers: By dataset name.
        prompts: All prompts.
        questions: The open questions.
        answers: All models' answers to them.
        votes: The judge's votes on these.
        test_answers: Answers to the test prompts.
        rule_audit: `rule_audit_metrics`; None if the rules were never audited.
        plan: The newest plan; None if there is none.
        human_votes: `human_votes_metrics`; None if no people's votes were counted.
    """

    run: RunRecord
    metrics: Documents
    plots: Mapping[str, Plot]
    ledgers: Mapping[str, Sequence[LedgerRow]]
    prompts: Sequence[Prompt]
    questions: Sequence[OpenItem]
    answers: Sequence[OpenAnswer]
    votes: Sequence[JudgeVote]
    test_answers: Sequence[PolicyAnswer]
    rule_audit: RuleAudit | None
    plan: Plan | None = None
    human_votes: HumanVotesMetrics | None = None


def make_report(found: Findings) -> str:
    """Write the report.

    Returns:
        The page.
    """
    from plotly.offline import get_plotlyjs

    found, model = shorten_names(found)
    figures = prepare_charts(found.plots) | _draw_audit(found.rule_audit)
    values = {
        **describe_results(found, model),
        **describe_origin(found),
        "only_model": model,
        "figures": figures,
        "descriptions": {name: figure.description for name, figure in figures.items()},
    }
    scripts = [Script(get_plotlyjs()), Script(read_asset("report.js"))]
    return render_page("report.html", values, scripts, [read_asset("report.css")])


def shorten_names(found: Findings) -> tuple[Findings, str]:
    """Name assistants without their model, if all of them share it.

    Returns:
        The same under shorter names, and the model; empty if there are several.
    """
    assistants = found.run["options"]["response_generation"]["assistants"]
    models = {assistant["model"] for assistant in assistants}
    if len(models) > 1:
        return found, ""
    [model] = models
    shortened = replace(
        found,
        plots=drop_prefix(found.plots, f"{model}-"),
        rule_audit=drop_prefix(found.rule_audit, f"{model}-"),
        metrics={
            name: drop_prefix(values, f"{model}-") if name in NAMING else values
            for name, values in found.metrics.items()
        },
    )
    return shortened, model


def describe_results(found: Findings, model: str) -> dict[str, Any]:
    """Return what the page shows of what came out, by the template's names.

    `model` is the one that all assistants share, if there is one.
    """
    metrics = found.metrics
    comparisons, report = metrics["comparisons_metrics"], metrics["reward_model_metrics"]
    stages = [stage for stage in TRAINED if stage.metrics in metrics]
    ways = compare_ways(metrics, found.test_answers, found.run["options"]["seed"])
    return {
        "lines": reach_verdict(metrics),
        "caveats": list_caveats(metrics, found.run["options"]),
        "evaluation": metrics["evaluation_metrics"],
        "judge": show_judge(metrics["evaluation_metrics"]["questions"]),
        "gate": metrics["gate"],
        "models": tables.tabulate_models(metrics["evaluation_metrics"]),
        "preferences": tabulate_preferences(metrics["evaluation_metrics"]["preferences"], model),
        "seeds": metrics["reward_model_seeds_metrics"],
        "mismatched": reward_models.describe_mismatched(metrics["mismatched_pairs_metrics"]),
        "ensemble": reward_models.tabulate_ensemble(
            metrics["reward_model_ensemble_metrics"], metrics["reward_model_training_metrics"]
        ),
        "edges": tables.tabulate_edges(comparisons, report),
        "factors": tables.tabulate_factors(comparisons, report),
        "comparisons": comparisons,
        "rewards": tables.tabulate_rewards(*(metrics[stage.metrics] for stage in stages)),
        "endings": tables.tabulate_endings(*(metrics[stage.metrics] for stage in stages)),
        "ways": tables.tabulate_ways(ways) if ways else None,
        "stages": [(each, metrics[each.training] if each.watched else None) for each in stages],
        "audit": tables.tabulate_audit(found.rule_audit) if found.rule_audit else None,
        "human_votes": tabulate_human_votes(found.human_votes) if found.human_votes else [],
    }


def describe_origin(found: Findings) -> dict[str, Any]:
    """Return what the page shows of how it came about, by the template's names."""
    run, spent = found.run, list_costs(found.metrics)
    votes = found.votes
    plan, about_plan = costs.find_plan(found.plan, run["options"])
    return {
        "run": run,
        "explorer": provenance.link_explorer(run["session_id"]),
        "drops": rule_sets.tabulate_drops(found.ledgers),
        "rule_sets": rule_sets.tabulate_rule_sets(found.ledgers),
        "rule_samples": rule_sets.sample_rule_sets(found.ledgers),
        "questions": samples.sample_questions(found.questions, found.answers, votes),
        "tests": samples.sample_prompts(found.prompts, found.test_answers),
        "costs": costs.tabulate_costs(spent),
        "cached": costs.describe_cache(spent),
        "about_plan": about_plan,
        "planned": costs.tabulate_plan(spent, plan) if plan else None,
        "options": provenance.tabulate_options(run["options"]),
        "versions": provenance.tabulate_versions(run["versions"], run["session_id"]),
        "packages": provenance.tabulate_packages(run["packages"]),
        "fingerprints": provenance.tabulate_fingerprints(
            found.metrics["evaluation_metrics"]["models"]
        ),
    }


def _draw_audit(audit: RuleAudit | None) -> dict[str, Figure]:
    if audit is None:
        return {}
    caption = (
        "How often reward models agree with what they were trained without. A rule whose interval "
        "lies beyond the diamond follows from the others; one at one half stands alone."
    )
    figure = prepare_figure("rule_audit_plot", caption, draw_rule_audit(audit))
    return {"rule_audit_plot": figure} if figure else {}
