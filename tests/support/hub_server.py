"""A small Hugging Face hub: the part of its protocol that an upload uses, in memory."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "hf_right"
LARGE = (".safetensors", ".parquet")
NAME = r"(?P<repo>[\w.-]+/[\w.-]+)"
KIND = r"/api/(?P<kind>model|dataset)s/"


@dataclass
class Repo:
    """A repository: what each file holds, and the messages of its commits."""

    kind: str
    private: bool
    files: dict[str, bytes] = field(default_factory=dict)
    commits: list[str] = field(default_factory=list)


class RefusedError(Exception):
    """An answer other than 200."""

    def __init__(self, status: int, said: str):
        super().__init__(said)
        self.status, self.said = status, said


class HubServer(ThreadingHTTPServer):
    """Knows one token; `refusals` has the status for the paths in which a text is."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repos: dict[str, Repo] = {}
        self.objects: dict[str, bytes] = {}
        self.refusals: dict[str, int] = {}
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def answer(self, path: str, body: bytes) -> Any:
        """What the hub says to a request; a path that it does not know is a test's fault."""
        routes = {
            "/api/repos/create": self.create,
            "/api/validate-yaml": lambda body: {},
            KIND + NAME + "/preupload/main": self.sort_out,
            "/(?:datasets/)?" + NAME + r"\.git/info/lfs/objects/batch": self.offer,
            "/objects/(?P<oid>[0-9a-f]{64})": self.receive,
            KIND + NAME + "/commit/main": self.commit,
            KIND + NAME: self.describe,
        }
        for route, respond in routes.items():
            if match := re.fullmatch(route, path):
                return respond(body, **match.groupdict())  # type: ignore[operator]
        raise RefusedError(404, f"no {path}")

    def create(self, body: bytes) -> Any:
        asked = json.loads(body)
        name = f"{asked['organization']}/{asked['name']}"
        if name in self.repos:
            raise RefusedError(409, "You already created this repo")
        self.repos[name] = Repo(asked["type"], asked.get("visibility") == "private")
        return {"url": f"{self.url}/{name}"}

    def describe(self, body: bytes, kind: str, repo: str) -> Any:
        found = self.repos[repo]
        return {"id": repo, "private": found.private, "sha": "0" * 40, "siblings": []}

    def sort_out(self, body: bytes, kind: str, repo: str) -> Any:
        assert self.repos[repo].kind == kind
        return {
            "files": [
                {
                    "path": each["path"],
                    "uploadMode": "lfs" if each["path"].endswith(LARGE) else "regular",
                    "shouldIgnore": False,
                }
                for each in json.loads(body)["files"]
            ]
        }

    def offer(self, body: bytes, repo: str) -> Any:
        objects = [
            {**each, "actions": {"upload": {"href": f"{self.url}/objects/{each['oid']}"}}}
            for each in json.loads(body)["objects"]
        ]
        return {"transfer": "basic", "objects": objects}

    def receive(self, body: bytes, oid: str) -> Any:
        assert hashlib.sha256(body).hexdigest() == oid
        self.objects[oid] = body
        return {}

    def commit(self, body: bytes, kind: str, repo: str) -> Any:
        lines = [json.loads(line) for line in body.splitlines()]
        found = self.repos[repo]
        for line in lines:
            value = line["value"]
            match line["key"]:
                case "header":
                    found.commits.append(value["summary"])
                case "file":
                    found.files[value["path"]] = base64.b64decode(value["content"])
                case "lfsFile":
                    found.files[value["path"]] = self.objects[value["oid"]]
        oid = f"{len(found.commits):040x}"
        return {"commitUrl": f"{self.url}/{repo}/commit/{oid}", "commitOid": oid}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: HubServer

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def respond(self) -> None:
        body = self.read_body()
        path = self.path.partition("?")[0]
        self.server.asked.append(path)
        try:
            self.refuse(path)
            status, content = 200, self.server.answer(path, body)
        except RefusedError as refusal:
            status = refusal.status
            content = {"error": refusal.said, "url": f"{self.server.url}/ann/model"}
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        if status != 200:
            self.send_header("X-Error-Message", content["error"])
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PUT = respond  # noqa: N815 - the library's names

    def read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def refuse(self, path: str) -> None:
        # Objects go to a store of its own, which is asked without a token.
        known = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        if not known and not path.startswith("/objects/"):
            raise RefusedError(401, "Invalid credentials in Authorization header")
        for part, status in self.server.refusals.items():
            if part in path:
                raise RefusedError(status, "You don't have the rights \x1b[31mto do so")


@contextmanager
def serve_hub() -> Iterator[HubServer]:
    server = HubServer()
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
