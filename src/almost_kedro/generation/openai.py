"""The openai engine: any number of OpenAI-compatible servers at once.

The random draws are the servers' own. Each request's seed comes from its hash, so a server that
honours seeds draws it alike again; another server, version or batch need not.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from almost_kedro.errors import UserError
from almost_kedro.generation.engine import Completion, Request, Sampling, request_seed
from almost_kedro.generation.job import ModelFolder
from almost_kedro.generation.replies import (
    REFUSED,
    RefusalError,
    RejectionError,
    TransientError,
)
from almost_kedro.generation.servers import STRIKES, Server, open_client, open_servers
from almost_kedro.options import GenerationOptions

if TYPE_CHECKING:
    from almost_kedro.generation.tokens import Encoder

# A request that failed so often, times the number of servers, is not sent again. More than it takes
# to set a server aside: that servers are down is no fault of a request.
ATTEMPTS = STRIKES + 1
# A share of fewer requests than these says little: a run must not end with its first refusal.
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

        Args:
            model: The model; its tokenizer, if there is one here, makes token ids of the texts.
            options: The servers.
            keys: API keys by name.
            backoff: Seconds of the first pause after a failure.
        """
        self.servers = open_servers(model.name, options, keys, backoff)
        self.max_refused_share = options.max_refused_share
        self.answered = self.refused = 0
        self.bos, self.chat = model.bos, model.chat
        self.encoder: Encoder | None = None
        if model.folder:
            from almost_kedro.generation.tokens import Encoder  # takes seconds to import

            self.encoder = Encoder(model.folder, model.bos, pad_token=model.pad_token)

    def generate(
        self, requests: Sequence[Request], sampling: Sampling, on_tokens: Callable[[int], None]
    ) -> Iterator[tuple[int, Completion]]:
        """See `generation.engine.Engine`.

        Raises:
            UserError: If too many requests are refused, or if no server is left.
        """
        crowd = Crowd(self, requests, sampling)
        with asyncio.Runner() as runner:
            # The servers work on while a finished row is being stored: only replies wait.
            runner.run(crowd.start())
            try:
                for _ in requests:
                    index, completion = runner.run(crowd.next())
                    on_tokens(completion.n_tokens)
                    yield index, completion
            finally:
                runner.run(crowd.stop())

    def build_body(self, request: Request, sampling: Sampling, is_vllm: bool) -> dict[str, Any]:
        """Return the JSON of a request, but for the model's name.

        To vLLM it also says what other servers don't know: that nothing of the model's own
        generation configuration is to be mixed in, and which tokens end a text. A chat that draws
        nothing is told nothing of draws: some servers refuse a seed, or both temperature and top_p.
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
        """Count what a server wrote, as the tokenizer here does."""
        assert self.encoder is not None
        return len(self.encoder.encode([text])[0]) - len(self.encoder.bos)


class Crowd:
    """Many requests under way at many servers; whoever is free takes the next one."""

    def __init__(self, engine: OpenAIEngine, requests: Sequence[Request], sampling: Sampling):
        """Remember what is to be asked."""
        self.engine, self.requests, self.sampling = engine, requests, sampling
        self.failed = [0] * len(requests)
        self.servers = engine.servers

    async def start(self) -> None:
        """Start asking."""
        self.waiting: asyncio.Queue[int] = asyncio.Queue()
        # Neighbours with one prefix find it in a server's prefix cache.
        for i in sorted(range(len(self.requests)), key=lambda i: self.requests[i].prefix):
            self.waiting.put_nowait(i)
        self.finished: asyncio.Queue[tuple[int, Completion] | BaseException] = asyncio.Queue()
        self.client = open_client()
        self.tasks = [asyncio.create_task(self._use(server)) for server in self.servers]

    async def next(self) -> tuple[int, Completion]:
        """Return the next finished request; raises what ended the asking."""
        found = await self.finished.get()
        if isinstance(found, BaseException):
            raise found
        return found

    async def stop(self) -> None:
        """Let go of everything that is under way."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.client.aclose()

    async def _use(self, server: Server) -> None:
        """Ask one server, by as many requests at once as it may have."""
        try:
            await self._get_ready(server)
            # Few requests are shared out, or the first server to be ready would take them all.
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
        """Answer a refused request with nothing; end it all when there are too many of them."""
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
        """Let a failed request be tried again, by whoever is free, but not for ever."""
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
        """End it all when no server is left."""
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
        """Show which request it is."""
        return f"the one that ends in {self.requests[i].text.strip()[-60:]!r}"
