"""A data root with answers of all policies, made by hand, and votes on pages made from it."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from made_rows import make_open_answer, make_policy_answer, make_prompt, make_question
from made_votes import vote

from almost_kedro.rows.human_votes import VotePage

OPEN, TESTS = 3, 2
# The judge likes sft's answers, the reward model those of sft, the held-out one those of base.
REWARDS = {"base": (0.0, 1.0), "prompted": (0.5, 0.5), "sft": (1.0, 0.0), "rl": (2.0, 2.0)}
DATA = re.compile(r'<script type="application/json" id="vote">(.*?)</script>')


def write_root(root: Path, text: str = "An answer.", **changes: Any) -> Path:
    """Write the datasets; `text` is in each question and answer, `changes` replaces datasets."""
    items = [f"open-{n}" for n in range(OPEN)]
    prompts = [f"p{n}" for n in range(TESTS)]
    answers = [
        make_open_answer(policy, item, f"{policy} {item}: {text}")
        for policy in REWARDS
        for item in items
    ]
    found: dict[str, Any] = {
        "03_primary/open_questions.jsonl": [make_question(i, f"{i}? {text}") for i in items],
        "03_primary/prompts.jsonl": [make_prompt(p, f"{p}? {text}") for p in prompts],
        "07_model_output/open_answers.jsonl": answers,
        "07_model_output/judge_votes.jsonl": [make_judge_vote(item) for item in items],
        "07_model_output/sft_answers.jsonl": [
            make_test_answer(policy, prompt, text)
            for policy in ("base", "prompted", "sft")
            for prompt in prompts
        ],
        "07_model_output/rl_answers.jsonl": [
            make_test_answer(policy, prompt, text) for policy in ("sft", "rl") for prompt in prompts
        ],
        "08_reporting/judge_cards.json": {"judge": "critic"},
    }
    for name, data in {**found, **changes}.items():
        write_dataset(root, name, data)
    return root


def write_dataset(root: Path, name: str, data: Any, version: str = "v1") -> None:
    path = root / name / version / Path(name).name
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(row) for row in data] if isinstance(data, list) else [json.dumps(data)]
    path.write_text("".join(f"{line}\n" for line in lines))


def make_judge_vote(item: str) -> dict[str, Any]:
    found = vote(item, "a_first", "9 3")
    ids = {name: make_open_answer(name, item, "")["answer_id"] for name in ("sft", "base")}
    return {**found, "vote_id": item, "answer_a": ids["sft"], "answer_b": ids["base"]}


def make_test_answer(policy: str, prompt: str, text: str) -> dict[str, Any]:
    reward, held_out = REWARDS[policy]
    row = make_policy_answer(
        f"{policy}-{prompt}",
        prompt_id=prompt,
        policy=policy,
        text=f"{policy} {prompt}: {text}",
        reward=reward,
        held_out_reward=held_out,
    )
    return dict(row)


def read_page(path: Path) -> VotePage:
    """What a page holds."""
    [found] = DATA.findall(path.read_text(encoding="utf-8"))
    page: VotePage = json.loads(found)
    return page


def read_key(root: Path) -> dict[str, Any]:
    path = sorted(root.glob("08_reporting/human_vote_key.json/*/*"))[-1]
    key: dict[str, Any] = json.loads(path.read_text())
    return key


def make_votes_file(
    page: str, choices: Mapping[str, str] | Sequence[tuple[str, str]], **fields: Any
) -> dict[str, Any]:
    """What the page's script saves."""
    pairs = choices.items() if isinstance(choices, Mapping) else choices
    time = "2026-01-02T03:04:05.678Z"
    return {
        "form": "almost_kedro votes 1",
        "page": page,
        "ballot": "0123456789abcdef",
        "voter": "",
        "saved": time,
        "votes": [{"vote_id": i, "choice": choice, "time": time} for i, choice in pairs],
        **fields,
    }
