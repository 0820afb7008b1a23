"""The openai engine: any number of OpenAI-compatible servers at once.

The servers draw with their own random numbers. Each request's seed comes from its hash, so a server
that honours seeds draws the same again. Another server, version or batch need not.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from almost_kedro.contract import Completion, ModelFolder, Request, Sampling
from almost_kedro.errors import UserError
from almost_kedro.generation.engine import request_seed
from almost_kedro.generation.replies import REFUSED, RefusalError, RejectionError, TransientError
from almost_kedro.generation.servers import STRIKES, Server, open_client, open_servers
from almost_kedro.options.generation import GenerationOptions

if TYPE_CHECKING:
    from almost_kedro.models.tokens import Encoder

# A request is given up after so many failures, times the number of servers. The limit is above
# STRIKES: when all servers are down, the request is not to blame.
ATTEMPTS = STRIKES + 1
# A share of fewer requests says little: the first refusal must not end a run.
FEWEST = 100


class OpenAIEngine:
    """Generates on servers; see `generation.engine.Engine` for the contract."""

    def __init__(
        self,
        model: ModelFolder,
        options: GenerationOptions,
        keys: Mapping[str, str],
        backoff: float = 1.0,
    ):
        """Describe the servers; the first request finds out which of them answer.

        Where the model has a tokenizer here, servers get token ids instead of text. `keys` are API
        keys by name. `backoff` is the first pause after a failure, in seconds.
        """
        self.servers = open_servers(model.name, options, keys, backoff)
        self.max_refused_share = options.max_refused_share
        self.answered = self.refused = 0
        self.bos, self.chat = model.bos, model.chat
        self.encoder: Encoder | None = None
        if model.folder:
            from almost_kedro.models.tokens import open_encoder

            self.encoder = open_encoder(model)

    def generate(
        self, requests: Sequence[Request], sampling: Sampling, on_tokens: Callable[[int], None]
    ) -> Iterator[tuple[int, Completion]]:
        """See `engine.Engine`; raise UserError if too many are refused or no server is left."""
        crowd = Crowd(self, requests, sampling)
        with asyncio.Runner() as runner:
            # While a finished row is being stored, the servers work on; only replies wait.
            runner.run(crowd.start())
            try:
                for _ in requests:
                    index, completion = runner.run(crowd.next())
                    on_tokens(completion.n_tokens)
                    yield index, completion
            finally:
                runner.run(crowd.stop())

    def build_body(self, request: Request, sampling: Sampling, is_vllm: bool) -> dict[str, Any]:
        """Return the JSON of a request, without the model's name.

        vLLM is also told what other servers don't know: to mix in nothing of the model's own
        generation configuration, and which tokens end a text. A chat at temperature 0 gets no
        options for drawing: some servers refuse a seed, or both temperature and top_p.
        """
        text = request.prefix + request.text
        body: dict[str, Any] = {
            "max_tokens": sampling.max_new_tokens,
            "temperature": sampling.temperature,
        }
        if self.chat:
            body["messages"] = [{"role": "user", "content": text}]
        else:
            body["prompt"] = self.encoder.encode([text])[0] if self.encoder else text
        if sampling.temperature or not self.chat:
            body |= {"top_p": sampling.top_p, "seed": request_seed(request, sampling)}
        if sampling.stop:
            body["stop"] = list(sampling.stop)
        if is_vllm:
            body |= {"top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}
            if self.encoder and not self.chat:
                body["stop_token_ids"] = self.encoder.end_ids
            elif self.bos is not None and not self.chat:
                body["add_special_tokens"] = self.bos
        return body

    def count_tokens(self, text: str) -> int:
        """Count the tokens of a server's text with the tokenizer here."""
        assert self.encoder is not None
        return len(self.encoder.encode([text])[0]) - len(self.encoder.bos)


class Crowd:
    """Many requests at many servers at once; whichever server is free takes the next one."""

    def __init__(self, engine: OpenAIEngine, requests: Sequence[Request], sampling: Sampling):
        """Start nothing yet."""
        self.engine, self.requests, self.sampling = engine, requests, sampling
        self.failed = [0] * len(requests)
        self.servers = engine.servers

    async def start(self) -> None:
        """Start sending."""
        self.waiting: asyncio.Queue[int] = asyncio.Queue()
        # Neighbours with one prefix find it in a server's prefix cache.
        for i in sorted(range(len(self.requests)), key=lambda i: self.requests[i].prefix):
            self.waiting.put_nowait(i)
        self.finished: asyncio.Queue[tuple[int, Completion] | BaseException] = asyncio.Queue()
        self.client = open_client()
        self.tasks = [asyncio.create_task(self._use(server)) for server in self.servers]

    async def next(self) -> tuple[int, Completion]:
        """Return the next finished request; raise the error that ended the work."""
        found = await self.finished.get()
        if isinstance(found, BaseException):
            raise found
        return found

    async def stop(self) -> None:
        """Cancel all requests under way."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.client.aclose()

    async def _use(self, server: Server) -> None:
        """Send to one server as many requests at once as it may have."""
        try:
            await self._get_ready(server)
            # Few requests are divided up, or the first server that is ready would take them all.
            left = sum(each.aside is None for each in self.servers)
            share = -(-len(self.requests) // max(left, 1))
            width = min(server.options.concurrency, share)
            async with asyncio.TaskGroup() as group:
                for _ in range(width):
                    group.create_task(self._ask(server))
        except* Exception as failed:
            self.finished.put_nowait(failed.exceptions[0])

    async def _get_ready(self, server: Server) -> None:
        while server.aside is None:
            await server.rest()
            sent = time.monotonic()
            try:
                await server.get_ready(self.client)
                return
            except TransientError as failure:
                server.strike(failure, sent)
            except RefusalError as rejection:
                server.set_aside(str(rejection))
            self._check_left()

    async def _ask(self, server: Server) -> None:
        """Send one request after the other until the server is set aside."""
        while server.aside is None:
            await server.rest()
            i = await self.waiting.get()
            if server.aside is not None or server.resting:
                self.waiting.put_nowait(i)
                continue
            sent = time.monotonic()
            body = self.engine.build_body(self.requests[i], self.sampling, server.is_vllm)
            count = self.engine.count_tokens if self.engine.encoder else None
            try:
                completion = await server.complete(self.client, body, self.sampling, count)
            except TransientError as failure:
                server.strike(failure, sent)
                self._give_back(i, server, failure)
            except RefusalError as refusal:
                server.set_aside(str(refusal))
                self.waiting.put_nowait(i)
            except RejectionError as rejection:
                server.succeed()
                self._refuse(i, server, rejection)
                continue
            else:
                server.succeed()
                self.engine.answered += 1
                self.finished.put_nowait((i, completion))
                continue
            self._check_left()

    def _refuse(self, i: int, server: Server, rejection: RejectionError) -> None:
        """Answer a refused request with nothing; stop everything after too many refusals."""
        engine = self.engine
        engine.refused += 1
        n = engine.answered + engine.refused
        print(
            f"server {server.options.url} refuses a request ({rejection}), {self._quote(i)}",
            flush=True,
        )
        if engine.refused <= engine.max_refused_share * max(n, FEWEST):
            self.finished.put_nowait((i, REFUSED))
            return
        self.finished.put_nowait(
            UserError(
                f"server {server.options.url} refuses a request ({rejection}); what was answered "
                f"is kept. {engine.refused} of {n} were refused, more than "
                f"generation.max_refused_share ({engine.max_refused_share:.0%}) allows: mend the "
                "server, or raise the share"
            )
        )

    def _give_back(self, i: int, server: Server, failure: TransientError) -> None:
        """Put a failed request back into the queue, for any free server, up to a limit."""
        self.failed[i] += 1
        limit = ATTEMPTS * len(self.servers)
        if self.failed[i] < limit:
            self.waiting.put_nowait(i)
            return
        self.finished.put_nowait(
            UserError(
                f"a request failed {limit} times ({self._quote(i)}), the last time at "
                f"{server.options.url}: {failure}"
            )
        )

    def _check_left(self) -> None:
        """Stop everything when no server is left."""
        if all(server.aside is not None for server in self.servers):
            reasons = "; ".join(f"{server.options.url} {server.aside}" for server in self.servers)
            worst = max(range(len(self.failed)), key=self.failed.__getitem__)
            self.finished.put_nowait(
                UserError(
                    f"no server is left: {reasons}. Most often failed {self._quote(worst)}, "
                    f"{self.failed[worst]} times. Mend a server and run again: what was answered "
                    "is kept"
                )
            )

    def _quote(self, i: int) -> str:
        return f"the one that ends in {self.requests[i].text.strip()[-60:]!r}"
