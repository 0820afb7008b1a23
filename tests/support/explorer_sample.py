"""A few rows with everything that the explorer shows, small enough to follow by hand.

    seed-a, seed-b -> prompt-1 (held out) -> prompt-2 (reward model) -> prompt-3 (no pairs)

prompt-1 has three answers and three pairs: two are kept, and one of those `original` would drop;
one is dropped for its length. prompt-2 has one pair, which the as-is filter drops later.
"""

from typing import Any

from made_rows import (
    make_assistant,
    make_ledger_row,
    make_prompt,
    make_response,
    make_scored_comparison,
    make_seed,
    make_splits,
)

from almost_kedro.feedback.comparisons import build_comparison
from almost_kedro.pages.explorer_rows import Explorer, build_explorer
from almost_kedro.rows.feedback import Response
from almost_kedro.rows.preferences import PreferenceVerdict

SEEDS = [make_seed("seed-a", "Why is the sky blue?"), make_seed("seed-b", "Bake a cake.")]
ASSISTANTS = [
    make_assistant("careful", demonstrations="Faithful", shots=3),
    make_assistant("plain", shots=3),
    make_assistant("short", shots=1),
]
PROMPTS = [
    make_prompt("prompt-1", "Why is grass green?", shot_ids=["seed-a", "seed-b"]),
    make_prompt("prompt-2", "Bake some bread.", shot_ids=["seed-b", "prompt-1"]),
    make_prompt("prompt-3", "Name a colour.", shot_ids=["prompt-2", "gone"]),
]
SPLITS = make_splits(
    {"prompt-1": "held_out", "prompt-2": "reward_model", "prompt-3": "reward_model"}
)


def make_answer(number: int, prompt_id: str, name: str, text: str, **fields: Any) -> Response:
    fields |= {"response_id": f"answer-{number}", "n_tokens": len(text.split())}
    return make_response(prompt_id, name, text, **fields)


RESPONSES = [
    make_answer(1, "prompt-1", "careful", "Grass is green because of chlorophyll in it."),
    make_answer(2, "prompt-1", "plain", "Grass is green because someone painted it."),
    make_answer(3, "prompt-1", "short", "It just is."),
    make_answer(4, "prompt-2", "careful", "Mix flour and water, then bake."),
    make_answer(5, "prompt-2", "short", "Buy some bread from a shop nearby."),
    make_answer(6, "prompt-3", "plain", "", verdict="rule_12_empty"),
]


def make_pair(id_: str, prompt: int, chosen: int, rejected: int) -> Any:
    pair = build_comparison(
        PROMPTS[prompt - 1],
        RESPONSES[chosen - 1],
        RESPONSES[rejected - 1],
        {assistant["name"]: assistant for assistant in ASSISTANTS},
    )
    return {**pair, "comparison_id": id_}


COMPARISONS = [
    make_pair("pair-12", 1, 1, 2),
    make_pair("pair-13", 1, 1, 3),
    make_pair("pair-45", 2, 4, 5),
]


LEDGER = [
    make_ledger_row("pair-13", detail="44 < 99 characters", original="rule_17_heuristic"),
    make_ledger_row(
        "pair-23",
        "matched_length",
        detail="75% apart",
        original="ok",
        parent_ids=["prompt-1", "answer-2", "answer-3"],
    ),
    make_ledger_row("prompt-3", "rule_15_nothing", detail="0 usable answers"),
]
LATER_LEDGER = [
    make_ledger_row("pair-45", "rule_25_as_is", detail="the as-is model disagrees", original="ok")
]
SCORES = [
    make_scored_comparison("pair-12", 1.5, 0.25, 1.0, 2.0, prompt_id="prompt-1"),
    make_scored_comparison("pair-13", -1.0, 1.00004, 0.0, 0.5, prompt_id="prompt-1"),
]


def make_verdict(set_: str, model: str, item: str, right: float, wrong: float) -> PreferenceVerdict:
    return PreferenceVerdict(
        verdict_id=f"{set_}/{model}/{item}",
        set=set_,
        model=model,
        item_id=item,
        prompt_id="prompt-1",
        category="",
        verdict="right" if right > wrong else "wrong",
        hit=float(right > wrong),
        n_choices=2,
        score_right=right,
        score_wrong=wrong,
        n_best=1,
    )


VERDICTS = [
    make_verdict("held_out", "reward_model", "pair-12", 1.5, 0.25),
    make_verdict("held_out", "sft", "pair-12", 3.00001, -1.25),
    make_verdict("held_out", "dpo", "pair-12", 0.5, 2.0),
    make_verdict("hhh", "sft", "pair-13", 1.0, 0.0),
]


def list_rows() -> dict[str, Any]:
    """What `build_explorer` takes."""
    return {
        "seeds": SEEDS,
        "prompts": PROMPTS,
        "prompt_splits": SPLITS,
        "assistants": ASSISTANTS,
        "responses": RESPONSES,
        "comparisons": COMPARISONS,
        "ledgers": [LEDGER, LATER_LEDGER],
        "held_out_scores": SCORES,
        "preference_verdicts": VERDICTS,
    }


def make_explorer(**changes: Any) -> Explorer:
    return build_explorer(**{**list_rows(), **changes})
