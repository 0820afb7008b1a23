"""A small OpenAI-compatible completions server on a real model, which misbehaves on demand.

As a process: `python completion_server.py MODEL_FOLDER PORT LOG`. Every answer that goes out whole
is a line of LOG, so that tests can count what was generated.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dialects import OPENAI

from almost_kedro.contract import Completion, Request, Sampling

if TYPE_CHECKING:
    from almost_kedro.generation.embedded import EmbeddedEngine

# What may be wrong with a reply; None is a good one.
Fault = str | int | None
NEVER: Callable[[int], Fault] = lambda number: None  # noqa: E731


class CompletionServer(ThreadingHTTPServer):
    """Serves `/v1/models` and `/v1/completions`."""

    daemon_threads = True
    path = "/v1/completions"

    def __init__(self, engine: EmbeddedEngine | None, port: int = 0, log: Path | None = None):
        super().__init__(("127.0.0.1", port), Handler)
        self.engine, self.log = engine, log
        self.lock = threading.Lock()
        self.fault = NEVER
        self.dialect = OPENAI
        self.context: int | None = None
        self.key: str | None = None
        self.retry_after: str | None = None
        self.name = "tiny"
        self.listed: tuple[int, Any] | None = None
        self.bodies: list[dict[str, Any]] = []
        self.under_way = self.most_under_way = self.answered = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def respond(self, body: dict[str, Any]) -> dict[str, Any]:
        assert self.engine
        ids = body["prompt"]
        if isinstance(ids, str):
            ids = self.engine.tokenizer(ids, add_special_tokens=False)["input_ids"]
        # What is too long loses its beginning, without a word.
        ids = ids[-self.context :] if self.context else ids
        completion = self.answer({**body, "prompt": self.engine.tokenizer.decode(ids)})
        return self.dialect(completion, len(ids), body)

    def answer(self, body: dict[str, Any]) -> Completion:
        assert self.engine
        prompt = body["prompt"]
        sampling = Sampling(
            body["temperature"],
            body["top_p"],
            body["max_tokens"],
            tuple(body.get("stop", ())),
            body["seed"],
        )
        with self.lock:
            return dict(self.engine.generate([Request(prompt)], sampling))[0]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that are gone are no news."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: CompletionServer

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def reply(self, status: int, content: Any, cut: int = 0) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        if self.server.retry_after and status == 429:
            self.send_header("Retry-After", self.server.retry_after)
        self.end_headers()
        self.wfile.write(data[: len(data) - cut])
        if cut:
            self.close_connection = True

    def may_enter(self) -> bool:
        key = self.server.key
        if key is None or self.headers.get("Authorization") == f"Bearer {key}":
            return True
        said = self.headers.get("Authorization")
        self.reply(401, {"error": {"message": f"Incorrect API key provided: {said}"}})
        return False

    def do_GET(self) -> None:
        if self.may_enter():
            if self.path == "/v1/models":
                listed = {"data": [{"id": self.server.name, "owned_by": "tests"}]}
                self.reply(*(self.server.listed or (200, listed)))
            else:
                self.reply(404, {"error": "Not Found"})

    def do_POST(self) -> None:
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self.may_enter():
            return
        if self.path != server.path:
            self.reply(404, {"error": "Not Found"})
            return
        with server.lock:
            number = len(server.bodies)
            server.bodies.append(body)
            server.under_way += 1
            server.most_under_way = max(server.most_under_way, server.under_way)
        try:
            self.misbehave(server.fault(number), body)
        finally:
            with server.lock:
                server.under_way -= 1

    def misbehave(self, fault: Fault, body: dict[str, Any]) -> None:
        if isinstance(fault, int):
            self.reply(fault, {"error": {"message": f"fault {fault}"}})
        elif fault == "filter":
            error = {"message": "The prompt was filtered", "code": "content_filter"}
            self.reply(400, {"error": error})
        elif fault == "hang":
            time.sleep(30)
        elif fault == "drip":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            for _ in range(300):
                self.wfile.write(b" ")
                self.wfile.flush()
                time.sleep(0.1)
        elif fault == "close":
            self.close_connection = True
        elif fault == "not JSON":
            self.reply(200, b"<html>proxy error</html>")
        elif fault == "wrong JSON":
            self.reply(200, {"choices": [{"message": {"content": "a chat"}}]})
        else:
            content = self.server.respond(body)
            if self.server.log and not fault:
                line = json.dumps([body["prompt"], body["seed"], content["choices"][0]["text"]])
                with self.server.lock, self.server.log.open("a") as log:
                    log.write(line + "\n")
            # Counted before: who has all answers may look at once.
            with self.server.lock:
                self.server.answered += not fault
            self.reply(200, content, cut=5 if fault == "half" else 0)


if __name__ == "__main__":
    from almost_kedro.generation.embedded import EmbeddedEngine

    folder, port, log = sys.argv[1:]
    engine = EmbeddedEngine(Path(folder), dtype="float32")
    server = CompletionServer(engine, int(port), Path(log))
    server.key = os.environ.get("SERVER_KEY")
    server.serve_forever()
