"""Rows made by hand: a maker for each type, with defaults.

What is made is checked against the row's type, so a test can't have fields that no pipeline has.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import TypeAdapter

from almost_kedro.rows.evaluation import (
    ChoiceItem,
    ContaminationRow,
    OpenAnswer,
    OpenItem,
    PairItem,
    RewardVerdict,
    Source,
)
from almost_kedro.rows.feedback import (
    Assistant,
    Assistants,
    Comparison,
    Comparisons,
    Ledger,
    LedgerRow,
    Prompt,
    PromptRequest,
    PromptRequests,
    Prompts,
    Response,
    Responses,
    Seed,
)
from almost_kedro.rows.preferences import PreferenceItem
from almost_kedro.rows.training import (
    Candidate,
    Demonstration,
    PolicyAnswer,
    PromptSplit,
    ScoredComparison,
)
from almost_kedro.rows.validator import RowsValidator

get_adapter = cache(TypeAdapter)


def check(kind: Any, row: dict[str, Any]) -> Any:
    """The row, if it has all fields of its type, no other ones, and none of another type."""
    return get_adapter(kind).validate_python(row)


# Feedback


def make_seed(seed_id: str = "s1", text: str = "Why?") -> Seed:
    return check(Seed, {"seed_id": seed_id, "text": text})


def make_request(request_id: str = "q1", **fields: Any) -> PromptRequest:
    row = {
        "request_id": request_id,
        "round": 0,
        "shot_ids": ["s1", "s2"],
        "output": " Why?",
        "finish_reason": "stop",
        "n_tokens": 3,
        "verdict": "ok",
    }
    return check(PromptRequest, row | fields)


def make_prompt(prompt_id: str = "p1", text: str = "Why?", **fields: Any) -> Prompt:
    row = {"prompt_id": prompt_id, "text": text, "shot_ids": ["s1", "s2"]}
    return check(Prompt, row | {"request_id": f"q-{prompt_id}"} | fields)


def make_assistant(name: str = "m-HHH-1shot", **fields: Any) -> Assistant:
    row = {
        "name": name,
        "model": "m",
        "demonstrations": "HHH",
        "shots": 1,
        "max_new_tokens": 64,
        "prefix": "Be kind.",
        "off_topic": False,
    }
    return check(Assistant, row | fields)


def make_response(
    prompt_id: str = "p1", assistant: str = "m-HHH-1shot", text: str = "Because.", **fields: Any
) -> Response:
    row = {
        "response_id": f"{prompt_id}-{assistant}",
        "prompt_id": prompt_id,
        "assistant": assistant,
        "text": text,
        "finish_reason": "eos",
        "n_tokens": 3,
        "verdict": "ok",
        "source_id": "",
    }
    return check(Response, row | fields)


def make_comparison(comparison_id: str = "c1", **fields: Any) -> Comparison:
    """A comparison; unless told otherwise, of a prompt of its own."""
    row = {
        "comparison_id": comparison_id,
        "prompt_id": f"p-{comparison_id}",
        "prompt": "Why?",
        "chosen": "Because.",
        "rejected": "No.",
        "chosen_id": f"a-{comparison_id}",
        "rejected_id": f"b-{comparison_id}",
        "chosen_assistant": "A",
        "rejected_assistant": "B",
        "factors": ["size"],
    }
    return check(Comparison, row | fields)


def make_pair(
    comparison_id: str, chosen: int = 100, rejected: int = 100, edge: str = "AB", **fields: Any
) -> Comparison:
    """A comparison of answers that are nothing but their length, in characters."""
    better, worse = edge
    assistants = {"chosen_assistant": better, "rejected_assistant": worse}
    texts = {"chosen": "x" * chosen, "rejected": "x" * rejected}
    return make_comparison(comparison_id, **assistants, **texts, **fields)


def make_ledger_row(row_id: str = "r1", rule: str = "ok", **fields: Any) -> LedgerRow:
    """A row of a ledger; unless told otherwise, both rule sets give the verdict in force."""
    row = {
        "row_id": row_id,
        "rule": rule,
        "detail": "why",
        "original": rule,
        "corrected": rule,
        "parent_ids": [],
    }
    return check(LedgerRow, row | fields)


# Training


def make_splits(splits: Mapping[str, str]) -> list[PromptSplit]:
    """Rows that give each prompt its split."""
    return [check(PromptSplit, {"prompt_id": id_, "split": s}) for id_, s in splits.items()]


def make_scored_comparison(comparison_id: str, *scores: float, **fields: Any) -> ScoredComparison:
    """Scores in their order in the row: of both models, chosen before rejected."""
    row = {"comparison_id": comparison_id, "prompt_id": f"p-{comparison_id}"}
    names = ("reward_chosen", "reward_rejected", "held_out_chosen", "held_out_rejected")
    return check(ScoredComparison, row | dict(zip(names, scores, strict=True)) | fields)


def make_candidate(candidate_id: str = "c1", **fields: Any) -> Candidate:
    """A candidate of a first turn, before there are rewards."""
    row = {
        "candidate_id": candidate_id,
        "prompt_id": "p1",
        "parent_id": "",
        "assistant": "a",
        "turn": 1,
        "sample": 0,
        "question": "Why?",
        "text": "Because.",
        "finish_reason": "eos",
        "n_tokens": 3,
        "verdict": "ok",
        "reward": None,
        "held_out_reward": None,
        "kept": False,
    }
    return check(Candidate, row | fields)


def make_demonstration(candidate_id: str = "c1", **fields: Any) -> Demonstration:
    row = {
        "demonstration_id": f"d-{candidate_id}",
        "prompt_id": "p1",
        "candidate_id": candidate_id,
        "turn": 1,
        "dialogue": "\n\nHuman: Why?\n\nAssistant:",
        "answer": "Because.",
    }
    return check(Demonstration, row | fields)


def make_policy_answer(answer_id: str = "t1", **fields: Any) -> PolicyAnswer:
    row = {
        "answer_id": answer_id,
        "prompt_id": "p1",
        "policy": "sft",
        "text": "Because.",
        "finish_reason": "eos",
        "n_tokens": 3,
        "reward": 0.0,
        "held_out_reward": 0.0,
    }
    return check(PolicyAnswer, row | fields)


# Evaluation


def make_source(**fields: Any) -> Source:
    row = {"name": "hhh", "kind": "own", "location": "benchmarks/hhh.json", "n": 9}
    return check(Source, row | {"sha256": "0" * 64} | fields)


def make_pair_item(item_id: str = "hhh-0001", **fields: Any) -> PairItem:
    row = {
        "item_id": item_id,
        "category": "helpful",
        "dialogue": "\n\nHuman: How do I clean a sieve?\n\nAssistant:",
        "chosen": "Rinse it.",
        "rejected": "Dunno.",
    }
    return check(PairItem, row | fields)


def make_choice_item(item_id: str = "mc1-0001", **fields: Any) -> ChoiceItem:
    row = {"item_id": item_id, "category": "Myths", "question": "Do bulls hate red?"}
    return check(ChoiceItem, row | {"choices": ["No.", "Yes."]} | fields)


def make_preference_item(item_id: str = "mine-0001", **fields: Any) -> PreferenceItem:
    row = {
        "item_id": item_id,
        "set": "mine",
        "prompt_id": "p1",
        "category": "",
        "dialogue": "\n\nHuman: Why?\n\nAssistant:",
        "choices": ["Because.", "Nothing."],
    }
    return check(PreferenceItem, row | fields)


def make_question(item_id: str = "open-0001", question: str = "Why?") -> OpenItem:
    return check(OpenItem, {"item_id": item_id, "category": "generic", "question": question})


def make_open_answer(policy: str, item_id: str, text: str, **fields: Any) -> OpenAnswer:
    row = {
        "answer_id": f"{policy}/{item_id}",
        "item_id": item_id,
        "policy": policy,
        "text": text,
        "finish_reason": "eos",
        "n_tokens": 3,
    }
    return check(OpenAnswer, row | fields)


def make_verdict(item_id: str, hit: float, **fields: Any) -> RewardVerdict:
    """A reward model's verdict: right for a hit of 1, wrong for 0, a tie for 0.5."""
    row = {
        "verdict_id": f"reward_model/{item_id}",
        "model": "reward_model",
        "item_id": item_id,
        "category": "helpful",
        "verdict": {0: "wrong", 0.5: "tie", 1: "right"}[hit],
        "hit": hit,
        "score_chosen": hit,
        "score_rejected": 0.5,
    }
    return check(RewardVerdict, row | fields)


def make_overlap(text_id: str, item_id: str, matched: str, **fields: Any) -> ContaminationRow:
    row = {
        "overlap_id": f"{text_id}-{item_id}",
        "text_id": text_id,
        "item_id": item_id,
        "kind": "ngram",
        "value": 9.0,
        "matched": matched,
    }
    return check(ContaminationRow, row | fields)


# A row of every type of the feedback, with something in each list; each is called "a".
ROWS: list[tuple[type[RowsValidator], Any]] = [
    (PromptRequests, make_request("a")),
    (Prompts, make_prompt("a")),
    (Responses, make_response(response_id="a")),
    (Comparisons, make_comparison("a", factors=["size", "shots", "demonstrations", "topic"])),
    (Ledger, make_ledger_row("a", "rule_16_chosen_once", parent_ids=["p", "r1", "r2"])),
    (Assistants, make_assistant("a")),
]
