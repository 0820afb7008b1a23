"""Self-play guided by the reward model (rule 24): an assistant and a simulated user talk.

In each turn the assistant gives several answers. The reward model picks the best, and the simulated
user replies to it. The picked answers are the demonstrations for supervised fine-tuning.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from almost_kedro.contract import Completion, FinishReason, row_id
from almost_kedro.feedback.ledger import KEPT, RuleVerdict, check_served
from almost_kedro.feedback.prompts import LONG
from almost_kedro.feedback.responses import SPLITTER, build_question, find_ends, judge_answer
from almost_kedro.feedback.scripts import measure_length
from almost_kedro.options.rules import Rules
from almost_kedro.rows.feedback import LedgerRow
from almost_kedro.rows.finite import require_finite
from almost_kedro.rows.training import Candidate, Demonstration


@dataclass(frozen=True)
class OpenTurn:
    """A turn that awaits its answers.

    Attributes:
        parent_id: The candidate kept in the turn before; empty in the first turn.
        question: The prompt, or what the simulated user asked.
        turn: Number of the turn, 1 for the first.
    """

    prompt_id: str
    parent_id: str
    question: str
    turn: int


def build_dialogue(turns: Sequence[tuple[str, str]], question: str, rules: Rules) -> str:
    """Write a dialogue up to where the assistant answers (rule 9, for more than one turn).

    `turns` are the questions and answers of finished turns. Only the end depends on the rules:
    original ends in "Assistant: ", corrected in "Assistant:".
    """
    finished = [build_question(asked, "corrected") + " " + answer for asked, answer in turns]
    return "".join(finished) + build_question(question, rules)


def build_user_request(turns: Sequence[tuple[str, str]]) -> str:
    r"""Write a dialogue up to where the simulated user asks: it ends in "\n\nHuman:".

    It follows the prefix of the user's demonstrations (`build_prefix`). At least one turn is
    finished.
    """
    *earlier, (question, answer) = turns
    return f"{build_dialogue(earlier, question, 'corrected')} {answer}\n\nHuman:"


def extract_user_question(output: str, finish_reason: FinishReason) -> str:
    """Read the simulated user's question: the first line that is not blank, before any label.

    If the token limit ended it, an unfinished last sentence is cut, unless it is the only one.
    """
    question = output
    for mark in (SPLITTER, "Assistant:", "Human:"):
        question = question.split(mark, 1)[0]
    question = question.strip().split("\n", 1)[0].rstrip()
    ends = find_ends(question)
    if finish_reason == "length" and question == output.strip() and ends:
        return question[: max(ends)]
    return question


def check_question(question: str, earlier: Sequence[str], completion: Completion) -> RuleVerdict:
    """Reject a question that cannot follow the `earlier` ones, the prompt among them.

    A rejected question ends the dialogue.
    """
    if not (served := check_served(completion.finish_reason)).kept:
        return served
    if not any(character.isalnum() for character in question):
        return RuleVerdict(
            "rule_24_no_question", f"nothing asked; ended by {completion.finish_reason}"
        )
    cut_off = completion.finish_reason == "length" and question == completion.text.strip()
    if cut_off and not find_ends(question):
        return RuleVerdict("rule_24_unfinished_question", f"ended by the token limit: {question!r}")
    if _normalise(question) in map(_normalise, earlier):
        return RuleVerdict("rule_24_repeated_question", f"asked before: {question!r}")
    if measure_length(question) > LONG:
        return RuleVerdict("rule_24_long_question", f"{len(question)} characters")
    return RuleVerdict()


def _normalise(question: str) -> str:
    return " ".join(question.casefold().split())


def make_candidates(
    turns: Sequence[OpenTurn],
    assistant: str,
    completions: Iterable[tuple[str, Completion]],
    samples: int,
    rules: Rules,
    max_repetition: float | None = None,
) -> tuple[list[Candidate], list[LedgerRow]]:
    """Make the candidates of open turns, without rewards, and their ledger (rules 11 and 12).

    Dropped candidates are included (see `verdict`).

    Args:
        assistant: Name of who answered.
        completions: Request key and completion, all samples of the first turn first.
        samples: Completions a turn.
        max_repetition: See `check_repetition`.
    """
    candidates: list[Candidate] = []
    ledger: list[LedgerRow] = []
    asked = [(turn, sample) for turn in turns for sample in range(samples)]
    for (turn, sample), (key, completion) in zip(asked, completions, strict=True):
        candidate_id = row_id("candidate", key, turn.prompt_id, turn.turn, sample)
        text, verdict, entry = judge_answer(candidate_id, completion, rules, max_repetition)
        candidates.append(
            Candidate(
                candidate_id=candidate_id,
                prompt_id=turn.prompt_id,
                parent_id=turn.parent_id,
                assistant=assistant,
                turn=turn.turn,
                sample=sample,
                question=turn.question,
                text=text,
                finish_reason=completion.finish_reason,
                n_tokens=completion.n_tokens,
                verdict=verdict.rule,
                reward=None,
                held_out_reward=None,
                kept=False,
            )
        )
        ledger += entry
    return candidates, ledger


def keep_best(candidates: Sequence[Candidate], rewards: Mapping[str, float]) -> list[Candidate]:
    """Fill in the rewards and keep each turn's best usable candidate; of equals, the first sample.

    A turn without a usable candidate keeps none and ends its dialogue; rule 12 has entered its
    candidates into the ledger. A filter does not count the other candidates as drops.

    Args:
        candidates: Whole turns, of one turn number or several.
        rewards: The reward model's, by candidate_id; at least those of all usable candidates.

    Raises:
        UserError: The candidate whose reward is not finite.
    """
    usable = defaultdict(list)
    for row in candidates:
        if row["verdict"] == KEPT:
            id_ = row["candidate_id"]
            require_finite(rewards[id_], f"the reward of candidate {id_}")
            usable[row["prompt_id"], row["turn"]].append(row)
    best = {
        max(rows, key=lambda row: (rewards[row["candidate_id"]], -row["sample"]))["candidate_id"]
        for rows in usable.values()
    }
    return [
        {
            **row,
            "reward": rewards[row["candidate_id"]] if row["verdict"] == KEPT else None,
            "kept": row["candidate_id"] in best,
        }
        for row in candidates
    ]


def list_turns(candidate: Candidate, by_id: Mapping[str, Candidate]) -> list[tuple[str, str]]:
    """Return the questions and answers of a dialogue, from its prompt to a candidate.

    `by_id` must have all candidates that were kept in earlier turns.
    """
    turns = [(candidate["question"], candidate["text"])]
    while candidate["parent_id"]:
        candidate = by_id[candidate["parent_id"]]
        turns.insert(0, (candidate["question"], candidate["text"]))
    return turns


def make_demonstrations(candidates: Sequence[Candidate], rules: Rules) -> list[Demonstration]:
    """Rule 24, last part: make a demonstration of each kept answer and its dialogue."""
    by_id = {row["candidate_id"]: row for row in candidates}
    demonstrations = []
    for row in candidates:
        if not row["kept"]:
            continue
        *earlier, (question, answer) = list_turns(row, by_id)
        dialogue = build_dialogue(earlier, question, rules)
        demonstrations.append(
            Demonstration(
                demonstration_id=row_id("demonstration", row["candidate_id"], dialogue),
                prompt_id=row["prompt_id"],
                candidate_id=row["candidate_id"],
                turn=row["turn"],
                dialogue=dialogue,
                answer=answer,
            )
        )
    return demonstrations


def list_training_rows(demonstrations: list[Demonstration]) -> list[dict[str, Any]]:
    """Return the rows of the training job; the policy's manifest has their digest."""
    return [
        {"id": row["demonstration_id"], "dialogue": row["dialogue"], "answer": row["answer"]}
        for row in demonstrations
    ]
