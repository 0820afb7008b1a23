"""The node that makes the page to browse comparisons."""

from __future__ import annotations

from almost_kedro.feedback.seeds import make_seed_rows, read_seed_file
from almost_kedro.pages.explorer import render_explorer
from almost_kedro.pages.explorer_rows import build_explorer
from almost_kedro.rows.feedback import Assistant, Comparison, LedgerRow, Prompt, Response
from almost_kedro.rows.preferences import PreferenceVerdict
from almost_kedro.rows.training import PromptSplit, ScoredComparison

# Of what drops pairs, in the order of the steps.
LEDGERS = ("ledger_comparisons", "ledger_post_validation", "ledger_reward_pairs")


def write_explorer(
    seed_prompts: str,
    prompts: list[Prompt],
    prompt_splits: list[PromptSplit],
    assistants: list[Assistant],
    responses: list[Response],
    comparisons: list[Comparison],
    held_out_scores: list[ScoredComparison],
    preference_verdicts: list[PreferenceVerdict],
    **ledgers: list[LedgerRow],
) -> str:
    """Return the page of all pairs, kept and dropped, with their ancestry; `ledgers` has `LEDGERS`.

    Raises UserError if the rows are of versions that don't go together.
    """
    explorer = build_explorer(
        make_seed_rows(read_seed_file(seed_prompts)),
        prompts,
        prompt_splits,
        assistants,
        responses,
        comparisons,
        [ledgers[name] for name in LEDGERS],
        held_out_scores,
        preference_verdicts,
    )
    return render_explorer(explorer)
