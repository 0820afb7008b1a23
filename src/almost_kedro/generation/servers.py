"""OpenAI-compatible servers: requests to one of them, and its state."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn

import httpx

from almost_kedro.contract import Completion, Sampling
from almost_kedro.errors import UserError
from almost_kedro.generation.replies import (
    FILTERED,
    WITHHELD,
    RefusalError,
    RejectionError,
    TransientError,
    WithheldError,
    read_completion,
    read_error,
    read_pause,
)
from almost_kedro.options.generation import GenerationOptions, ServerOptions

# After so many failures in a row, over about a minute, a server is set aside.
STRIKES = 7
LONGEST_PAUSE = 30.0
CONNECT_SECONDS = 10.0


class Server:
    """One server and its record. A success clears its strikes."""

    def __init__(self, options: ServerOptions, key: str | None = None, backoff: float = 1.0):
        """Describe a server; `backoff` is the first pause in seconds, and doubles each time."""
        self.options, self.key, self.backoff = options, key, backoff
        self.name = options.served_as or options.model
        self.headers = {"Authorization": f"Bearer {key}"} if key else {}
        self.is_vllm = False
        self.strikes = self.failures = self.answers = 0
        self.aside: str | None = None
        self._free_at = 0.0

    async def get_ready(self, client: httpx.AsyncClient) -> None:
        """Ask for the models that the server lists.

        Raises TransientError if it does not answer as it should, and RefusalError if it never will.
        """
        try:
            reply = await self._send(client, "GET", "/models", None, CONNECT_SECONDS)
        except RejectionError as exc:
            raise RefusalError(f"does not list its models ({exc})") from None
        try:
            # Together sends the bare list.
            cards = reply["data"] if isinstance(reply, dict) else reply
            models = {card["id"]: card for card in cards}
        except (KeyError, TypeError):
            raise TransientError("its list of models is none") from None
        # Ollama adds a tag to a name that has none.
        if not {self.name, f"{self.name}:latest"} & models.keys():
            raise RefusalError(
                f"serves {', '.join(map(repr, models)) or 'no model'}, not {self.name!r}; set "
                "`served_as` to its name there"
            )
        self.is_vllm = models.get(self.name, {}).get("owned_by") == "vllm"

    async def complete(
        self,
        client: httpx.AsyncClient,
        body: dict[str, Any],
        sampling: Sampling,
        count: Callable[[str], int] | None = None,
    ) -> Completion:
        """Send one request; a reply that a content filter refuses counts as withheld.

        `body` is the JSON without the model's name; with `messages`, it is a chat's. `count` counts
        a text's tokens, if there is a tokenizer here.

        Raises:
            TransientError: If another try may succeed.
            RefusalError: If this server refuses every request.
            RejectionError: If it refuses this request.
        """
        path = "/chat/completions" if "messages" in body else "/completions"
        body = {"model": self.name, **body}
        try:
            reply = await self._send(client, "POST", path, body, self.options.timeout)
        except WithheldError as exc:
            print(f"server {self.options.url} withholds a reply: {exc}", flush=True)
            return WITHHELD
        try:
            return read_completion(reply, body, sampling, count)
        except (AttributeError, KeyError, IndexError, TypeError, ValueError) as exc:
            raise TransientError(
                f"its reply is no completion ({type(exc).__name__}: {exc})"
            ) from None

    async def _send(
        self,
        client: httpx.AsyncClient,
        method: str,
        path: str,
        body: dict[str, Any] | None,
        seconds: float,
    ) -> Any:
        try:
            # httpx limits each read; a server that drips bytes would never reach its limit.
            async with asyncio.timeout(seconds):
                reply = await client.request(
                    method, self.options.url + path, json=body, headers=self.headers
                )
        except TimeoutError:
            # Each timeout has cost minutes already.
            raise TransientError(f"no whole reply in {seconds:g} s", strikes=3) from None
        except httpx.HTTPError as exc:
            raise TransientError(f"{type(exc).__name__}: {exc}") from None
        if reply.status_code != 200:
            self._raise_error(reply, reply.status_code)
        try:
            found = reply.json()
        except ValueError:
            raise TransientError("its reply is not JSON") from None
        if isinstance(found, dict) and found.get("error") and not found.get("choices"):
            # A proxy replies with status 200 when the server behind it fails.
            self._raise_error(reply, 502)
        return found

    def _raise_error(self, reply: httpx.Response, status: int) -> NoReturn:
        message, code = read_error(reply)
        said = f"status {status}: {self._hide(message)}"
        if status in (408, 409, 425, 429) or status >= 500:
            raise TransientError(said, read_pause(reply.headers.get("Retry-After")))
        if status in (401, 403):
            key = f"the key {self.options.key!r}" if self.options.key else "requests without a key"
            raise RefusalError(f"refuses {key} ({said}); see `servers` in credentials.yml")
        if status == 400 and code in FILTERED:
            raise WithheldError(said)
        if status in (400, 413, 422):
            raise RejectionError(said)
        raise RefusalError(f"{said}; is `url` the base of the API, up to and including /v1?")

    def _hide(self, text: str) -> str:
        """Remove the key from a server's message: some servers repeat it."""
        return text.replace(self.key, "***") if self.key else text

    def succeed(self) -> None:
        """Count an answer."""
        self.answers += 1
        self.strikes = 0

    def strike(self, failure: TransientError, sent: float) -> None:
        """Count a failure of a request sent at `sent` (monotonic seconds).

        Requests that were under way together count as one strike together.
        """
        self.failures += 1
        if sent < self._free_at:
            return
        self.strikes += failure.strikes
        pause = self.backoff * 2 ** (self.strikes - 1) if failure.pause is None else failure.pause
        self._free_at = time.monotonic() + min(pause, LONGEST_PAUSE)
        if self.strikes >= STRIKES:
            self.set_aside(f"failed again and again, the last time so: {failure}")

    def set_aside(self, reason: str) -> None:
        """Send the server nothing more, and say so once."""
        if self.aside is None:
            self.aside = reason
            print(f"server {self.options.url} is set aside: {reason}", flush=True)

    @property
    def resting(self) -> bool:
        """True in the pause after a failure."""
        return time.monotonic() < self._free_at

    async def rest(self) -> None:
        """Wait until the pause after a failure is over."""
        while (left := self._free_at - time.monotonic()) > 0:
            await asyncio.sleep(left)


def open_servers(
    model: str, options: GenerationOptions, keys: Mapping[str, str], backoff: float = 1.0
) -> list[Server]:
    """Describe the servers of a model; raise UserError if a server's key is missing."""
    servers = []
    for server in options.servers:
        if server.model != model:
            continue
        if server.key is not None and not keys.get(server.key):
            raise UserError(
                f"server {server.url}: its key {server.key!r} is empty or missing; name it below "
                "`servers` in credentials.yml and set the environment variable that it names there"
            )
        key = keys[server.key] if server.key is not None else None
        servers.append(Server(server, key, backoff))
    return servers


def check_servers(
    models: Sequence[str], options: GenerationOptions, keys: Mapping[str, str]
) -> list[str]:
    """Ask every server of some models whether it is ready; raise UserError if one never will be.

    Return a line for each that does not answer. It may later, and the request cache may not need
    it. Never ready are servers with a wrong key, model or path.
    """
    servers = [server for model in models for server in open_servers(model, options, keys)]

    async def ask() -> list[BaseException | None]:
        async with open_client() as client:
            asked = (server.get_ready(client) for server in servers)
            return await asyncio.gather(*asked, return_exceptions=True)

    # In a thread of its own: a notebook's thread already runs an event loop.
    with ThreadPoolExecutor(1) as thread:
        answers = thread.submit(asyncio.run, ask()).result()
    silent = []
    for server, found in zip(servers, answers, strict=True):
        if isinstance(found, TransientError):
            silent.append(f"server {server.options.url} is not ready: {found}")
        elif isinstance(found, RefusalError):
            raise UserError(f"server {server.options.url}: {found}")
        elif found is not None:
            raise found
    return silent


def open_client() -> httpx.AsyncClient:
    """Open an HTTP client whose only limit is the time to connect."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    return httpx.AsyncClient(
        timeout=httpx.Timeout(None, connect=CONNECT_SECONDS), limits=limits, follow_redirects=False
    )
