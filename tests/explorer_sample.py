"""A few rows with everything that the explorer shows, small enough to follow by hand.

    seed-a, seed-b -> prompt-1 (held out) -> prompt-2 (reward model) -> prompt-3 (no pairs)

prompt-1 has three answers and three pairs: two are kept, and one of those `original` would drop;
one is dropped for its length. prompt-2 has one pair, which the as-is filter drops later.
"""

from typing import Any

from almost_kedro.feedback.comparisons import build_comparison
from almost_kedro.pages.explorer_rows import Explorer, build_explorer
from almost_kedro.rows import Assistant, LedgerRow, Prompt, Response, Seed
from almost_kedro.training_rows import PromptSplit, ScoredComparison

SEEDS = [
    Seed(seed_id="seed-a", text="Why is the sky blue?"),
    Seed(seed_id="seed-b", text="Bake a cake."),
]


def make_assistant(name: str, demonstrations: str, shots: int) -> Assistant:
    return Assistant(
        name=name,
        model="tiny",
        demonstrations=demonstrations,
        shots=shots,
        max_new_tokens=9,
        prefix="",
        off_topic=False,
    )


ASSISTANTS = [
    make_assistant("careful", "Faithful", 3),
    make_assistant("plain", "HHH", 3),
    make_assistant("short", "HHH", 1),
]


def make_prompt(number: int, text: str, shots: list[str]) -> Prompt:
    return Prompt(
        prompt_id=f"prompt-{number}", text=text, shot_ids=shots, request_id=f"request-{number}"
    )


PROMPTS = [
    make_prompt(1, "Why is grass green?", ["seed-a", "seed-b"]),
    make_prompt(2, "Bake some bread.", ["seed-b", "prompt-1"]),
    make_prompt(3, "Name a colour.", ["prompt-2", "gone"]),
]
SPLITS = [
    PromptSplit(prompt_id="prompt-1", split="held_out"),
    PromptSplit(prompt_id="prompt-2", split="reward_model"),
    PromptSplit(prompt_id="prompt-3", split="reward_model"),
]


def make_answer(id_: str, prompt: int, assistant: str, text: str, verdict: str = "ok") -> Response:
    return Response(
        response_id=id_,
        prompt_id=f"prompt-{prompt}",
        assistant=assistant,
        text=text,
        finish_reason="stop",
        n_tokens=len(text.split()),
        verdict=verdict,
        source_id="",
    )


RESPONSES = [
    make_answer("answer-1", 1, "careful", "Grass is green because of chlorophyll in it."),
    make_answer("answer-2", 1, "plain", "Grass is green because someone painted it."),
    make_answer("answer-3", 1, "short", "It just is."),
    make_answer("answer-4", 2, "careful", "Mix flour and water, then bake."),
    make_answer("answer-5", 2, "short", "Buy some bread from a shop nearby."),
    make_answer("answer-6", 3, "plain", "", "rule_12_empty"),
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


def make_entry(id_: str, rule: str, detail: str, original: str, parents: list[str]) -> LedgerRow:
    return LedgerRow(
        row_id=id_,
        rule=rule,
        detail=detail,
        original=original,
        corrected=rule,
        parent_ids=parents,
    )


LEDGER = [
    make_entry("pair-13", "ok", "44 < 99 characters", "rule_17_heuristic", []),
    make_entry(
        "pair-23", "matched_length", "75% apart", "ok", ["prompt-1", "answer-2", "answer-3"]
    ),
    make_entry("prompt-3", "rule_15_nothing", "0 usable answers", "rule_15_nothing", []),
]
LATER_LEDGER = [make_entry("pair-45", "rule_25_as_is", "the as-is model disagrees", "ok", [])]
SCORES = [
    ScoredComparison(
        comparison_id="pair-12",
        prompt_id="prompt-1",
        reward_chosen=1.5,
        reward_rejected=0.25,
        held_out_chosen=1.0,
        held_out_rejected=2.0,
    ),
    ScoredComparison(
        comparison_id="pair-13",
        prompt_id="prompt-1",
        reward_chosen=-1.0,
        reward_rejected=1.00004,
        held_out_chosen=0.0,
        held_out_rejected=0.5,
    ),
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
    }


def make_explorer(**changes: Any) -> Explorer:
    return build_explorer(**{**list_rows(), **changes})
