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
from transformers import AutoModelForCausalLM, PreTrainedConfig

from almost_kedro.errors import UserError
from almost_kedro.generation.endings import Endings
from almost_kedro.generation.engine import Completion, Request, Sampling
from almost_kedro.generation.memory import available_memory, release_memory
from almost_kedro.generation.not_finite import explain, read_weights
from almost_kedro.generation.packed_linear import (
    PackedLinear,
    gains_by_bfloat16,
    pack_linear_layers,
)
from almost_kedro.generation.reading import (
    TRIAL_PREFIX,
    TRIAL_TOKENS,
    prefill,
    trial_ids,
    try_sharing,
    uses_longrope,
)
from almost_kedro.generation.sampling import LogitsError, random_stream, sample_tokens
from almost_kedro.generation.scheduling import Row, admit, leave, plan_step
from almost_kedro.generation.shared_prefix import Slots
from almost_kedro.generation.steps import round_up
from almost_kedro.generation.tokens import Encoder
from almost_kedro.generation.trees import count_common
from almost_kedro.generation.unshared import continue_batch

# Requests tokenised together.
PART = 4096
# Rows continued together at most, and tokens of new rows read in one pass (a row that has more is
# read alone): beyond these, nothing is gained.
MAX_ROWS = {"cpu": 256, "cuda": 1024}
MAX_FRESH = {"cpu": 2048, "cuda": 8192}
# Rows continued together by a model that shares nothing, if there is memory for them.
UNSHARED_ROWS = 32
# Share of the available memory that slots may take.
MEMORY_SHARE = 0.5
# Characters of a request that an error shows.
SHOWN = 60


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """Resolve `auto` to bfloat16 where the device is faster with it, else float32."""
    if name != "auto":
        return {"bfloat16": torch.bfloat16, "float32": torch.float32}[name]
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        fast = gains_by_bfloat16()
    return torch.bfloat16 if fast else torch.float32


def count_token_bytes(config: PreTrainedConfig, dtype: torch.dtype) -> int:
    """Return the bytes of a token's keys and values in all layers, as far as names tell."""
    heads = getattr(config, "num_attention_heads", None) or 1
    size = getattr(config, "head_dim", None) or getattr(config, "hidden_size", 0) // heads
    kept = getattr(config, "num_key_value_heads", None) or heads
    return int(2 * getattr(config, "num_hidden_layers", 0) * kept * size * dtype.itemsize)


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
        device: str | None = None,
    ):
        """Load a model.

        Args:
            folder: Model folder with safetensors weights and a tokenizer.
            dtype: `auto`, `bfloat16` or `float32`.
            rows: Rows continued together; None finds it from the memory that is there.
            bos: Start every text with the bos token; None does what the tokenizer does.
            trust_remote_code: Run Python code found in the folder.
            pad_token: Token to pad with; None takes the tokenizer's own, if it has one.
            device: `cpu` or `cuda`; None takes a GPU if there is one.
        """
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.folder, self.rows = folder, rows
        self.encoder = Encoder(folder, bos, trust_remote_code, pad_token)
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
        # Beyond what LongRoPE was made longer from, a text would change those beside it.
        self.context: int | None = getattr(config, "max_position_embeddings", None)
        if uses_longrope(config):
            self.context = getattr(config, "original_max_position_embeddings", self.context)
        self.vocabulary: int = config.vocab_size
        # The trial counts them, where there is one.
        self.token_bytes = count_token_bytes(config, self.model.dtype)
        self.shares_prefix = self._try_sharing()
        kept = signature(type(self.model).forward).parameters
        if not self.shares_prefix and "past_key_values" not in kept:
            raise UserError(
                f"model {folder.name}: {type(self.model).__name__} keeps what it has read in a way "
                "of its own, which generation.engine: embedded does not know; take vllm or openai"
            )
        self.end_ids = self._end_ids()

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

    def _end_ids(self) -> set[int]:
        """Collect the ids that end a text."""
        configured = self.model.generation_config.eos_token_id
        ids = configured if isinstance(configured, list) else [configured]
        return {i for i in ids if i is not None} | set(self.encoder.end_ids)

    @torch.inference_mode()
    def generate(
        self,
        requests: Sequence[Request],
        sampling: Sampling,
        on_tokens: Callable[[int], None] = lambda n: None,
    ) -> Iterator[tuple[int, Completion]]:
        """See `generation.engine.Engine`."""
        order = sorted(range(len(requests)), key=lambda i: requests[i].prefix)
        try:
            for prefix, group in groupby(order, key=lambda i: requests[i].prefix):
                prefix_ids = self.encode([prefix])[0]
                # In parts: a hundred thousand requests, tokenised at once, would fill the memory.
                indices = list(group)
                for start in range(0, len(indices), PART):
                    rows = self._rows(indices[start : start + PART], requests, sampling)
                    yield from self._generate_rows(prefix_ids, rows, sampling, on_tokens)
        except LogitsError as exc:
            raise UserError(self._refuse(requests[exc.row])) from exc

    def _refuse(self, request: Request) -> str:
        """Say what is known of a request at which the logits are no numbers."""
        end = request.text[-SHOWN:]
        known = explain(
            self.folder.name, read_weights(self.folder), self.model.dtype, "generation.dtype"
        )
        return f"the request that ends in {end!r}: its logits are no finite numbers; {known}"

    @torch.inference_mode()
    def continue_ids(
        self, texts: Sequence[list[int]], uniforms: np.ndarray, sampling: Sampling
    ) -> list[list[int]]:
        """Continue texts that are token ids already.

        Args:
            texts: Token ids.
            uniforms: Random numbers, `(texts, max_new_tokens, DRAWS)` in [0, 1).
            sampling: How to draw tokens; its seed is not used.

        Returns:
            New token ids of each text, the one that ended it included.

        Raises:
            LogitsError: The number of a text at which the logits are no finite numbers.
        """
        rows = [Row(i, ids, own) for i, (ids, own) in enumerate(zip(texts, uniforms, strict=True))]
        for _ in self._generate_rows([], rows, sampling, lambda n: None):
            pass
        return [row.generated for row in rows]

    @torch.no_grad()
    def take_weights(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Go on with other weights of the same architecture.

        Args:
            weights: A model's state, in any number format.
        """
        for name, parameter in self.model.named_parameters():
            parameter.copy_(weights[name])
        for name, layer in self.model.named_modules():
            if isinstance(layer, PackedLinear):
                layer.pack(weights[f"{name}.weight"])

    def _rows(
        self, indices: list[int], requests: Sequence[Request], sampling: Sampling
    ) -> list[Row]:
        """Tokenise requests."""
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
        """Continue rows, the longest first, those that are alike next to each other."""
        rows = sorted(rows, key=lambda row: (-len(row.tokens), row.tokens))
        if self.shares_prefix:
            yield from self._generate_part(prefix_ids, rows, sampling, on_tokens)
            return
        endings = Endings(self.tokenizer, self.end_ids, sampling)
        extend = partial(self._extend, endings=endings)
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
        """Continue rows that have a prefix in common."""
        # Tokens at the seam may differ between the prefix alone and the whole text, so the shared
        # part is what all whole texts really have in common with it.
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
            done = self._extend(active, self._forward(active, new, slots), endings)
            on_tokens(len(active))
            yield from ((active[number].index, found) for number, found in done.items())
            active = leave(active, list(done), slots)

    def _choose_rows(self, wanted: int, length: int, room: int, read: int = 1) -> int:
        """Find how many rows are continued together.

        Args:
            wanted: Rows that there are.
            length: Tokens of the prefix that they share.
            room: Own tokens of a row at most.
            read: Tokens of a row whose scores are there at once.
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
            return int(available_memory(self.device) * MEMORY_SHARE) // row_bytes

        fitting = count()
        if fitting < wanted:
            # What rows before these have left counts as taken until it is given back.
            release_memory()
            fitting = count()
        return max(1, min(wanted, fitting))

    def _extend(
        self, rows: list[Row], logits: torch.Tensor, endings: Endings
    ) -> dict[int, Completion]:
        """Draw each row's next token.

        Args:
            rows: Rows; each gets its token.
            logits: `(rows, vocabulary)`.
            endings: Says which rows are finished, and how to draw.

        Returns:
            Completions of the finished rows by number, ascending.

        Raises:
            LogitsError: The index of a row whose logits are no finite numbers.
        """
        uniforms = np.array([row.uniforms[len(row.generated)] for row in rows])
        sampling = endings.sampling
        try:
            drawn = sample_tokens(
                logits,
                torch.from_numpy(uniforms).to(logits.device),
                sampling.temperature,
                sampling.top_p,
            )
        except LogitsError as exc:
            raise LogitsError(rows[exc.row].index) from exc
        done = {}
        for number, (row, token) in enumerate(zip(rows, drawn.tolist(), strict=True)):
            row.generated.append(token)
            completion = endings.complete(row.generated)
            if completion:
                done[number] = completion
        return done

    def _forward(self, rows: list[Row], new: list[list[Row]], slots: Slots) -> torch.Tensor:
        """Read every row's last token, and before it what new rows bring.

        Args:
            rows: All rows by slot; the new ones are the last, in their order.
            new: New rows; those in one list have the same tokens.
            slots: Get the tokens' keys and values.

        Returns:
            `(rows, vocabulary)` logits of the next tokens.
        """
        ids, step = plan_step(rows, new, slots.length, self.device)
        output = self.model(**slots.begin(ids, step), logits_to_keep=len(rows))
        logits: torch.Tensor = output.logits[0, -len(rows) :]
        return logits
