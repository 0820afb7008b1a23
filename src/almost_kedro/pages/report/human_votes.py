"""People's votes as tables, one a page; `kedro vote --count` prints the same."""

from __future__ import annotations

from almost_kedro.pages.report.numbers import show_count, show_estimate
from almost_kedro.pages.table import MISSING, Table
from almost_kedro.rows.evaluation_metrics import HumanVotes, HumanVotesMetrics
from almost_kedro.rows.metrics import CountedEstimate

JUDGES = {
    "reward_model": "reward model",
    "held_out_reward_model": "held-out reward model",
    "judge": "judge",
}


def tabulate_human_votes(metrics: HumanVotesMetrics) -> list[Table]:
    """Say for each page what people voted, and who agrees with them."""
    return [_tabulate(found) for found in metrics["pages"]]


def _tabulate(found: HumanVotes) -> Table:
    a, b = found["model_a"], found["model_b"]
    names = {**JUDGES, "judge": f"judge ({found['judge']})"}
    rows = [
        ("people", show_count(found["n_people"])),
        ("questions with a vote", f"{found['n_voted']:,} of {found['n_questions']:,}"),
        ("votes, without skips", show_count(found["n_votes"])),
        ("skips", show_count(found["n_skipped"])),
        (f"wins of {a}", show_count(found["wins_a"])),
        ("ties", show_count(found["ties"])),
        (f"wins of {b}", show_count(found["wins_b"])),
        (f"win rate of {a} (a tie is half)", show_estimate(found["win_rate"])),
        ("the first answer wins (a tie is half)", show_estimate(found["left_wins"])),
        ("two votes on one question agree", _show_counted(found["agreement"], "pair")),
        ("Krippendorff's alpha", MISSING if found["alpha"] is None else f"{found['alpha']:.2f}"),
        *(
            (f"{names[judge]} agrees with most people", _show_counted(share, "question"))
            for judge, share in found["judges"].items()
        ),
        *((f"version of {name}", version) for name, version in found["answers"].items()),
    ]
    return Table(f"{a} against {b}, page {found['page'][:8]}", ("figure", "value"), rows)


def _show_counted(share: CountedEstimate | None, what: str) -> str:
    if share is None:
        return MISSING
    return f"{show_estimate(share)}, {share['n']:,} {what}{'' if share['n'] == 1 else 's'}"
