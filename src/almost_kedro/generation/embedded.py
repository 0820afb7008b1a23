"""The embedded engine: transformers on this machine's CPU or GPU, demonstrations computed once.

Rows are continued together, each in a slot. A finished row leaves at once, and the next request
takes its place; its tokens are read in the pass that continues the others.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from inspect import signature
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM

from almost_kedro.contract import Completion, Request, Sampling
from almost_kedro.errors import UserError
from almost_kedro.generation.drawing import extend_rows
from almost_kedro.generation.endings import Endings, find_end_ids
from almost_kedro.generation.memory import available_memory, release_memory
from almost_kedro.generation.not_finite import explained_logits
from almost_kedro.generation.number_format import choose_dtype, count_token_bytes
from almost_kedro.generation.packed_linear import PackedLinear, pack_linear_layers
from almost_kedro.generation.reading import (
    TRIAL_PREFIX,
    TRIAL_TOKENS,
    prefill,
    trial_ids,
    try_sharing,
    uses_longrope,
)
from almost_kedro.generation.sampling import random_stream
from almost_kedro.generation.scheduling import Row, admit, leave, plan_step
from almost_kedro.generation.slots import Slots
from almost_kedro.generation.steps import round_up
from almost_kedro.generation.streaming import TextStream
from almost_kedro.generation.trees import count_common
from almost_kedro.generation.unshared import continue_batch
from almost_kedro.models.tokens import Encoder

# Requests tokenised together.
PART = 4096
# Most rows continued together, and most tokens of new rows read in one pass (a longer row is read
# alone). Larger numbers gain nothing.
MAX_ROWS = {"cpu": 256, "cuda": 1024}
MAX_FRESH = {"cpu": 2048, "cuda": 8192}
# Rows continued together by a model that shares no prefix, if the memory allows.
UNSHARED_ROWS = 32
# Share of the available memory that slots may take.
MEMORY_SHARE = 0.5


class EmbeddedEngine:
    """Generates with transformers; see `generation.engine.Engine` for the contract."""

    def __init__(
        self,
        folder: Path,
        *,
        dtype: str = "auto",
        rows: int | None = None,
        bos: bool | None = None,
        trust_remote_code: bool = False,
        pad_token: str | None = None,
        chat: bool = False,
        device: str | None = None,
        shares: int = 1,
    ):
        """Load a model from a folder with safetensors weights and a tokenizer.

        Args:
            dtype: `auto`, `bfloat16` or `float32`.
            rows: Rows continued together; None: as many as the memory allows.
            bos: Start every text with the bos token; None: as the tokenizer does.
            pad_token: None: the tokenizer's own, if it has one.
            chat: Texts are dialogues, to be read by the model's chat template.
            device: `cpu` or `cuda`; None: a GPU if there is one.
            shares: Into how many parts the memory is divided, of which this engine has one.
        """
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.folder, self.rows, self.shares = folder, rows, shares
        self.encoder = Encoder(folder, bos, trust_remote_code, pad_token, chat=chat)
        self.tokenizer, self.encode = self.encoder.tokenizer, self.encoder.encode
        self.model = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=choose_dtype(dtype, self.device),
            use_safetensors=True,
            trust_remote_code=trust_remote_code,
        ).to(self.device)
        self.model.eval()
        pack_linear_layers(self.model)
        config = self.model.config.get_text_config()
        # With LongRoPE, a text longer than the original context would change the texts beside it.
        self.context: int | None = getattr(config, "max_position_embeddings", None)
        if uses_longrope(config):
            self.context = getattr(config, "original_max_position_embeddings", self.context)
        self.vocabulary: int = config.vocab_size
        # An estimate; the trial of sharing counts them.
        self.token_bytes = count_token_bytes(config, self.model.dtype)
        self.shares_prefix = self._try_sharing()
        kept = signature(type(self.model).forward).parameters
        if not self.shares_prefix and "past_key_values" not in kept:
            raise UserError(
                f"model {folder.name}: {type(self.model).__name__} keeps what it has read in a way "
                "of its own, which generation.engine: embedded does not know; take vllm or openai"
            )
        self.end_ids = find_end_ids(self.model.generation_config, self.encoder.end_ids)

    @torch.inference_mode()
    def _try_sharing(self) -> bool:
        """Find out whether the shared prefix gives this architecture's own logits."""
        ids = trial_ids(self.model)

        def expect() -> torch.Tensor:
            logits: torch.Tensor = self.model(torch.tensor([ids], device=self.device)).logits
            return logits[0, -1]

        def write() -> tuple[torch.Tensor, bool]:
            layers = prefill(self.model, ids[:TRIAL_PREFIX])
            self.token_bytes = sum(each.nbytes for pair in layers for each in pair) // TRIAL_PREFIX
            slots = Slots(layers, TRIAL_PREFIX, 2, TRIAL_TOKENS)
            row = Row(0, ids[:-1], np.empty(0))
            self._forward([row], [[row]], slots)
            row.generated.append(ids[-1])
            return self._forward([row], [], slots)[0], slots.windowed

        return try_sharing(self.model, expect, write)

    @torch.inference_mode()
    def generate(
        self,
        requests: Sequence[Request],
        sampling: Sampling,
        on_tokens: Callable[[int], None] = lambda n: None,
    ) -> Iterator[tuple[int, Completion]]:
        """See `generation.engine.Engine`."""
        order = sorted(range(len(requests)), key=lambda i: requests[i].prefix)
        with explained_logits(self.folder, self.model.dtype, requests):
            for prefix, group in groupby(order, key=lambda i: requests[i].prefix):
                prefix_ids = self.encode([prefix])[0]
                # In parts: a hundred thousand tokenised requests would fill the memory.
                indices = list(group)
                for start in range(0, len(indices), PART):
                    rows = self._rows(indices[start : start + PART], requests, sampling)
                    yield from self._generate_rows(prefix_ids, rows, sampling, on_tokens)

    @torch.inference_mode()
    def stream(
        self, request: Request, sampling: Sampling, on_text: Callable[[str], None]
    ) -> Completion:
        """Continue one request exactly as `generate` does, and give its text while it is written.

        `on_text` is called after each token with a piece, often an empty one (see `TextStream`); an
        error that it raises ends the writing.
        """
        text = TextStream(self.tokenizer, self.end_ids, sampling.stop, on_text)
        with explained_logits(self.folder, self.model.dtype, [request]):
            prefix_ids = self.encode([request.prefix])[0]
            [row] = self._rows([0], [request], sampling)
            [(_, completion)] = self._generate_rows(
                prefix_ids, [row], sampling, lambda n: text.grow(row.generated)
            )
        return completion

    @torch.inference_mode()
    def continue_ids(
        self, texts: Sequence[list[int]], uniforms: np.ndarray, sampling: Sampling
    ) -> list[list[int]]:
        """Return the new token ids of each text of ids, including the one that ended it.

        `uniforms` are random numbers, `(texts, max_new_tokens, DRAWS)` in [0, 1). The seed of
        `sampling` is not used. LogitsError gives the number of a text whose logits are not finite.
        """
        rows = [Row(i, ids, own) for i, (ids, own) in enumerate(zip(texts, uniforms, strict=True))]
        for _ in self._generate_rows([], rows, sampling, lambda n: None):
            pass
        return [row.generated for row in rows]

    @torch.no_grad()
    def take_weights(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Copy weights of the same architecture, in any number format, into the model."""
        for name, parameter in self.model.named_parameters():
            parameter.copy_(weights[name])
        for name, layer in self.model.named_modules():
            if isinstance(layer, PackedLinear):
                layer.pack(weights[f"{name}.weight"])

    def _rows(
        self, indices: list[int], requests: Sequence[Request], sampling: Sampling
    ) -> list[Row]:
        tokens = self.encode([requests[i].prefix + requests[i].text for i in indices])
        if not all(tokens):
            raise UserError("a request has no text, and this model's texts begin with no bos token")
        longest = max(map(len, tokens)) + sampling.max_new_tokens
        if self.context is not None and longest > self.context:
            raise UserError(
                f"a request takes {longest} tokens, the new ones included, but the model has a "
                f"context of {self.context}; use fewer shots, shorter demonstrations or prompts, "
                "or a lower max_new_tokens"
            )
        return [
            Row(
                index,
                ids,
                random_stream(sampling.seed, requests[index].hash(), sampling.max_new_tokens),
            )
            for index, ids in zip(indices, tokens, strict=True)
        ]

    def _generate_rows(
        self,
        prefix_ids: list[int],
        rows: list[Row],
        sampling: Sampling,
        on_tokens: Callable[[int], None],
    ) -> Iterator[tuple[int, Completion]]:
        """Continue rows, the longest first, equal ones next to each other."""
        rows = sorted(rows, key=lambda row: (-len(row.tokens), row.tokens))
        if self.shares_prefix:
            yield from self._generate_part(prefix_ids, rows, sampling, on_tokens)
            return
        endings = Endings(self.tokenizer, self.end_ids, sampling)
        extend = partial(extend_rows, endings=endings)
        longest = len(rows[0].tokens)
        scored = longest if self.model.config._attn_implementation == "eager" else 1
        wanted = min(len(rows), self.rows or UNSHARED_ROWS)
        size = self._choose_rows(wanted, 0, longest + sampling.max_new_tokens, scored)
        for start in range(0, len(rows), size):
            yield from continue_batch(self.model, rows[start : start + size], extend, on_tokens)

    def _generate_part(
        self,
        prefix_ids: list[int],
        rows: list[Row],
        sampling: Sampling,
        on_tokens: Callable[[int], None],
    ) -> Iterator[tuple[int, Completion]]:
        """Continue rows that share a prefix."""
        # Tokens at the seam may differ between the prefix alone and the whole text. So the shared
        # part is what the tokens of all whole texts have in common with it.
        length = min(count_common(prefix_ids, row.tokens[:-1]) for row in rows)
        room = round_up(len(rows[0].tokens) - length + sampling.max_new_tokens)
        prefix = prefill(self.model, prefix_ids[:length])
        capacity = self._choose_rows(len(rows), length, room)
        slots = Slots(prefix, length, capacity, room)
        endings = Endings(self.tokenizer, self.end_ids, sampling)
        waiting, active = deque(rows), list[Row]()
        while waiting or active:
            most = MAX_FRESH[self.device.type]
            new = admit(waiting, capacity - len(active), length, most)
            active += [row for alike in new for row in alike]
            done = extend_rows(active, self._forward(active, new, slots), endings)
            on_tokens(len(active))
            yield from ((active[number].index, found) for number, found in done.items())
            active = leave(active, list(done), slots)

    def _choose_rows(self, wanted: int, length: int, room: int, read: int = 1) -> int:
        """Return how many rows fit into the memory, at most `wanted`.

        They share `length` tokens. Each has room for `room` own tokens, and holds the scores of
        `read` tokens at once.
        """
        wanted = min(wanted, self.rows or MAX_ROWS[self.device.type])
        if self.rows is not None:
            return wanted
        # Keys and values; logits, probabilities and a copy of them, in float32; scores, twice.
        config = self.model.config.get_text_config()
        heads: int = getattr(config, "num_attention_heads", 0)
        numbers = 12 * self.vocabulary + 4 * heads * (length + room) * read
        row_bytes = room * self.token_bytes + numbers

        def count() -> int:
            return int(available_memory(self.device) * MEMORY_SHARE / self.shares) // row_bytes

        fitting = count()
        if fitting < wanted:
            # Memory that earlier rows no longer need counts as taken until it is released.
            release_memory()
            fitting = count()
        return max(1, min(wanted, fitting))

    def _forward(self, rows: list[Row], new: list[list[Row]], slots: Slots) -> torch.Tensor:
        """Read every row's last token, and before it the other own tokens of new rows.

        `rows` are in slot order, the new ones last. `new` groups them by equal tokens. `slots`
        receive keys and values. Return `(rows, vocabulary)` logits of the next tokens.
        """
        ids, step = plan_step(rows, new, slots.length, self.device)
        output = self.model(**slots.begin(ids, step), logits_to_keep=len(rows))
        logits: torch.Tensor = output.logits[0, -len(rows) :]
        return logits
