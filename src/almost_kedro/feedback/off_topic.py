"""Off-topic answers: answers of an assistant, each given to another prompt.

They cost nothing, and are as long and as well written as the answers they are compared with: only
the prompt tells which is right. The paper has no such rule of thumb; this is ours.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from almost_kedro.contract import row_id
from almost_kedro.feedback.ledger import KEPT
from almost_kedro.rows.feedback import Assistant, LedgerRow, Response
from almost_kedro.rows.training import PromptSplit

# An off-topic assistant's name is its source's with this at the end.
OFF_TOPIC = "-off-topic"


def answer_off_topic(
    assistants: Sequence[Assistant],
    responses: Sequence[Response],
    ledger: Sequence[LedgerRow],
    prompt_splits: Sequence[PromptSplit],
) -> tuple[list[Response], list[LedgerRow]]:
    """Make the answers of all off-topic assistants, from the usable ones of their sources.

    `responses` have the verdicts of the rules in force. A moved answer takes its entry in `ledger`
    along: what the other rule set says of the text.
    """
    entries = {row["row_id"]: row for row in ledger}
    moved: list[Response] = []
    moved_entries: list[LedgerRow] = []
    for assistant in assistants:
        if not assistant["off_topic"]:
            continue
        source = assistant["name"].removesuffix(OFF_TOPIC)
        usable = [row for row in responses if row["assistant"] == source and row["verdict"] == KEPT]
        for row in exchange(usable, assistant["name"], prompt_splits):
            moved.append(row)
            if row["source_id"] in entries:
                moved_entries.append({**entries[row["source_id"]], "row_id": row["response_id"]})
    return moved, moved_entries


def exchange(
    responses: Sequence[Response], assistant: str, prompt_splits: Sequence[PromptSplit]
) -> Iterator[Response]:
    """Exchange the answers of two prompts that are neighbours in answer length.

    So every text is right once and off topic once. Answers stay within a split. In a split with an
    odd number of answers, the longest one stays out. `responses` are the usable answers of one
    assistant; `assistant` names the off-topic one.
    """
    splits = {row["prompt_id"]: row["split"] for row in prompt_splits}
    groups = defaultdict(list)
    for row in responses:
        groups[splits[row["prompt_id"]]].append(row)
    for rows in groups.values():
        rows.sort(key=lambda row: (len(row["text"]), row["response_id"]))
        for one, other in zip(rows[::2], rows[1::2], strict=False):
            for row, prompt_id in ((one, other["prompt_id"]), (other, one["prompt_id"])):
                yield {
                    **row,
                    "response_id": row_id("off_topic", row["response_id"], prompt_id),
                    "prompt_id": prompt_id,
                    "assistant": assistant,
                    "source_id": row["response_id"],
                }
