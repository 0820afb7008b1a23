"""A small chat server whose model judges two answers by a rule, and misbehaves on demand."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from completion_server import CompletionServer

# From question and answers, in the order shown, to a review; None if a filter keeps it back.
Judge = Callable[[str, str, str], str | None]


def prefer_longer(question: str, first: str, second: str) -> str:
    if len(first) == len(second):
        return "6 6\nBoth say as much."
    return "8 5\nThe first says more." if len(first) > len(second) else "5 8\nThe second says more."


def prefer_first(question: str, first: str, second: str) -> str:
    return "9 2\nI like what I read first."


def read_case(prompt: str) -> tuple[str, str, str]:
    """What a judge who trusts the marked lines alone takes for question and answers."""
    mark = re.search(r"carry the mark (\w+)\.", prompt)
    assert mark
    pattern = rf"===== {mark[1]} begin [a-z0-9 ]+ =====\n(.*?)\n===== {mark[1]} end "
    question, first, second = re.findall(pattern, prompt, flags=re.DOTALL)
    return question, first, second


class ChatServer(CompletionServer):
    """Serves `/v1/models` and `/v1/chat/completions`."""

    path = "/v1/chat/completions"

    def __init__(self, judge: Judge):
        super().__init__(engine=None)
        self.judge, self.name = judge, "critic"
        # Tokens of a prompt that it says it read, if all of them are not what it says.
        self.read: int | None = None
        self.count: Callable[[str], int] = lambda text: len(text.split())

    @property
    def asked(self) -> list[tuple[str, str, str]]:
        """Question and answers of each request that came, in no certain order."""
        return [read_case(body["messages"][0]["content"]) for body in self.bodies]

    def respond(self, body: dict[str, Any]) -> dict[str, Any]:
        [message] = body["messages"]
        text = self.judge(*read_case(message["content"]))
        return {
            "choices": [
                {
                    "message": {"role": "assistant", "content": text or None},
                    "finish_reason": "content_filter" if text is None else "stop",
                }
            ],
            "usage": {
                "prompt_tokens": self.read or len(message["content"]) // 3,
                "completion_tokens": self.count(text or ""),
            },
        }


@contextmanager
def serve(judge: Judge) -> Iterator[ChatServer]:
    server = ChatServer(judge)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
