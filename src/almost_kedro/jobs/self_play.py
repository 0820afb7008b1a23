"""Plays the dialogues of self-play: turns of generation, scoring and the simulated user."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from almost_kedro.contract import Completion, ModelFolder, Sampling, row_id
from almost_kedro.feedback.ledger import KEPT, make_ledger_rows
from almost_kedro.feedback.responses import STOPS
from almost_kedro.feedback.self_play import (
    OpenTurn,
    build_dialogue,
    build_user_request,
    check_question,
    extract_user_question,
    keep_best,
    list_turns,
    make_candidates,
)
from almost_kedro.generation.job import RequestGroup, ResponsesTask
from almost_kedro.jobs.generate import read_answers, run_worker
from almost_kedro.jobs.score import Scorer, score
from almost_kedro.options.all import Options
from almost_kedro.processes.workplace import Workplace
from almost_kedro.rows.feedback import Assistant, LedgerRow, Prompt
from almost_kedro.rows.metrics import ProgramMetrics
from almost_kedro.rows.training import Candidate


@dataclass(frozen=True)
class Player:
    """Who plays, and how; one model plays both assistant and user.

    Attributes:
        user_prefix: Demonstrations of how users ask.
        judges: Scoring by the reward model, which chooses, and by the held-out one, which does not.
    """

    assistant: Assistant
    user_prefix: str
    model: ModelFolder
    options: Options
    workplace: Workplace
    judges: tuple[Scorer, Scorer]


def play_dialogues(
    prompts: Sequence[Prompt], player: Player
) -> tuple[list[Candidate], list[LedgerRow], dict[str, ProgramMetrics]]:
    """Play a dialogue from each prompt (rule 24); return every candidate, the ledger and costs."""
    turns = [OpenTurn(prompt["prompt_id"], "", prompt["text"], 1) for prompt in prompts]
    by_id: dict[str, Candidate] = {}
    ledger: list[LedgerRow] = []
    costs: dict[str, ProgramMetrics] = {}
    for number in range(1, player.options.self_play.turns + 1):
        if not turns:
            break
        candidates, entries, found = answer_turns(turns, by_id, player)
        by_id |= {row["candidate_id"]: row for row in candidates}
        ledger += entries
        costs |= {f"turn {number}, {name}": cost for name, cost in found.items()}
        kept = [row for row in candidates if row["kept"]]
        if number < player.options.self_play.turns and kept:
            turns, entries, costs[f"turn {number}, questions"] = ask_on(kept, by_id, player)
            ledger += entries
        else:
            turns = []
    rows = list(by_id.values())
    held_out, costs["held-out rewards"] = score_candidates(rows, by_id, player, player.judges[1])
    scored: list[Candidate] = [
        {**row, "held_out_reward": held_out.get(row["candidate_id"])} for row in rows
    ]
    return scored, ledger, costs


def answer_turns(
    turns: Sequence[OpenTurn], by_id: Mapping[str, Candidate], player: Player
) -> tuple[list[Candidate], list[LedgerRow], dict[str, ProgramMetrics]]:
    """Let the assistant answer each turn several times; the reward model keeps the best."""
    options = player.options.self_play
    texts = [
        build_dialogue(
            list_turns(by_id[turn.parent_id], by_id) if turn.parent_id else [],
            turn.question,
            player.options.rules,
        )
        for turn in turns
    ]
    answers, cost = generate(
        "self-play answers",
        player,
        player.assistant["prefix"],
        texts,
        options.max_new_tokens,
        options.candidates,
    )
    candidates, ledger = make_candidates(
        turns,
        player.assistant["name"],
        answers,
        options.candidates,
        player.options.rules,
        options.max_repetition,
    )
    rewards, scoring = score_candidates(candidates, by_id, player, player.judges[0])
    return keep_best(candidates, rewards), ledger, {"answers": cost, "rewards": scoring}


def ask_on(
    kept: Sequence[Candidate], by_id: Mapping[str, Candidate], player: Player
) -> tuple[list[OpenTurn], list[LedgerRow], ProgramMetrics]:
    """Let the simulated user reply to kept answers; a bad question ends its dialogue."""
    options = player.options.self_play
    histories = [list_turns(row, by_id) for row in kept]
    replies, cost = generate(
        "self-play questions",
        player,
        player.user_prefix,
        [build_user_request(history) for history in histories],
        options.user_max_new_tokens,
        1,
    )
    turns: list[OpenTurn] = []
    ledger: list[LedgerRow] = []
    for row, history, (key, completion) in zip(kept, histories, replies, strict=True):
        question = extract_user_question(completion.text, completion.finish_reason)
        verdict = check_question(question, [asked for asked, _ in history], completion)
        if verdict.kept:
            turns.append(OpenTurn(row["prompt_id"], row["candidate_id"], question, row["turn"] + 1))
        parents = (row["prompt_id"], row["candidate_id"])
        question_id = row_id("question", key, row["candidate_id"])
        ledger += make_ledger_rows(question_id, player.options.rules, verdict, parent_ids=parents)
    return turns, ledger, cost


def generate(
    name: str, player: Player, prefix: str, texts: list[str], max_new_tokens: int, samples: int
) -> tuple[list[tuple[str, Completion]], ProgramMetrics]:
    """Continue texts after a prefix; all samples of a text come before the next text's."""
    options = player.options.self_play
    sampling = Sampling(
        options.temperature, options.top_p, max_new_tokens, STOPS, player.options.seed
    )
    group = RequestGroup(name=name, prefix=prefix, sampling=sampling, texts=texts, samples=samples)
    folder, cost = run_worker(
        name,
        player.model,
        player.options.generation,
        ResponsesTask(groups=[group]),
        player.workplace.generation,
        player.workplace.keys,
    )
    return list(read_answers(folder / "answers_0.jsonl")), cost


def score_candidates(
    candidates: Sequence[Candidate],
    by_id: Mapping[str, Candidate],
    player: Player,
    judge: Scorer,
) -> tuple[dict[str, float], ProgramMetrics]:
    """Return the rewards of the usable candidates by candidate_id, and their cost."""
    rows = []
    for row in candidates:
        if row["verdict"] == KEPT:
            *earlier, (question, answer) = list_turns(row, by_id)
            dialogue = build_dialogue(earlier, question, player.options.rules)
            rows.append({"id": row["candidate_id"], "dialogue": dialogue, "answer": answer})
    return score(judge, rows)
