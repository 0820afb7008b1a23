"""The embedded engine: transformers on this machine's CPU or GPU, demonstrations computed once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, DynamicCache

from almost_kedro.errors import UserError
from almost_kedro.generation.engine import Completion, FinishReason, Request, Sampling
from almost_kedro.generation.sampling import random_stream, sample_tokens
from almost_kedro.generation.shared_prefix import ATTENTION, SharedPrefix
from almost_kedro.generation.tokens import Encoder, count_common

logger = logging.getLogger(__name__)
# Requests tokenised together.
PART = 4096
# Tokens of the trial by which an architecture is found to share its prefix exactly, and how far its
# logits may be apart, as a share of their spread (measured in bfloat16: 0.03).
TRIAL_TOKENS, TRIAL_PREFIX = 40, 24
TRIAL_TOLERANCE = {torch.bfloat16: 0.1, torch.float32: 1e-3}


def choose_dtype(name: str) -> torch.dtype:
    """Resolve `auto` to bfloat16 where the processor computes in it, else float32."""
    if name != "auto":
        return {"bfloat16": torch.bfloat16, "float32": torch.float32}[name]
    if torch.cuda.is_available():
        fast = torch.cuda.is_bf16_supported()
    else:
        fast = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return torch.bfloat16 if fast else torch.float32


@dataclass
class Row:
    """One request on its way through a batch."""

    index: int
    tokens: list[int]
    uniforms: torch.Tensor
    generated: list[int]


class EmbeddedEngine:
    """Generates with transformers; see `generation.engine.Engine` for the contract."""

    def __init__(
        self,
        folder: Path,
        *,
        dtype: str = "auto",
        batch_size: int = 64,
        bos: bool | None = None,
        trust_remote_code: bool = False,
    ):
        """Load a model.

        Args:
            folder: Model folder with safetensors weights and a tokenizer.
            dtype: `auto`, `bfloat16` or `float32`.
            batch_size: Rows generated together.
            bos: Start every text with the bos token; None does what the tokenizer does.
            trust_remote_code: Run Python code found in the folder.
        """
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.batch_size = batch_size
        self.encoder = Encoder(folder, bos, trust_remote_code)
        self.tokenizer, self.encode = self.encoder.tokenizer, self.encoder.encode
        self.model = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=choose_dtype(dtype),
            use_safetensors=True,
            trust_remote_code=trust_remote_code,
        ).to(self.device)
        self.model.eval()
        config = self.model.config.get_text_config()
        self.context: int | None = getattr(config, "max_position_embeddings", None)
        self.shares_prefix = self._try_sharing()
        self.end_ids = self._end_ids()

    @torch.inference_mode()
    def _try_sharing(self) -> bool:
        """Find out whether the shared prefix gives this architecture's own logits.

        Not every model goes through the attention interface, and some say by a mask alone what
        they see. Such a model generates without sharing: slower, and exact.
        """
        own = self.model.config._attn_implementation
        config = self.model.config.get_text_config()
        ids = torch.arange(TRIAL_TOKENS) * 7919 % config.vocab_size
        expected = self.model(ids[None].to(self.device)).logits[0, -1].float()
        try:
            shared = SharedPrefix(self._prefill_prefix(ids[:TRIAL_PREFIX].tolist()), TRIAL_PREFIX)
            self.shares_prefix = True
            self.model.set_attn_implementation(ATTENTION)
            cache = DynamicCache()
            positions = torch.arange(TRIAL_PREFIX, TRIAL_TOKENS, device=self.device)[None]
            shared.step(positions[:, :-1], positions[:, :-1])
            self._forward(ids[None, TRIAL_PREFIX:-1].to(self.device), shared, cache)
            shared.step(positions[:, -1:], positions)
            found = self._forward(ids[None, -1:].to(self.device), shared, cache)[0].float()
        except Exception as exc:
            reason = f"{type(exc).__name__}: {exc}"
        else:
            error = float((found - expected).std() / expected.std())
            window = getattr(config, "sliding_window", None)
            if error < TRIAL_TOLERANCE[self.model.dtype] and not (window and not shared.windowed):
                return True
            reason = f"logits {error:.2g} of their spread apart, window {window}"
        logger.warning("demonstrations are not shared with this model (%s)", reason)
        self.model.set_attn_implementation(own)
        return False

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
        for prefix, group in groupby(order, key=lambda i: requests[i].prefix):
            prefix_ids = self.encode([prefix])[0]
            # In parts: a hundred thousand requests, tokenised at once, would fill the memory.
            indices = list(group)
            for start in range(0, len(indices), PART):
                rows = self._rows(indices[start : start + PART], requests, sampling)
                yield from self._generate_part(prefix_ids, rows, sampling, on_tokens)

    def _generate_part(
        self,
        prefix_ids: list[int],
        rows: list[Row],
        sampling: Sampling,
        on_tokens: Callable[[int], None],
    ) -> Iterator[tuple[int, Completion]]:
        """Continue rows that have a prefix in common, those of like length together."""
        # Tokens at the seam may differ between the prefix alone and the whole text, so the shared
        # part is what all whole texts really have in common with it.
        length = min(count_common(prefix_ids, row.tokens[:-1]) for row in rows)
        if not self.shares_prefix:
            length = 0
        layers = self._prefill_prefix(prefix_ids[:length])
        rows = sorted(rows, key=lambda row: len(row.tokens))
        for start in range(0, len(rows), self.batch_size):
            shared = SharedPrefix(layers, length)
            batch = rows[start : start + self.batch_size]
            yield from self._generate_batch(batch, shared, sampling, on_tokens)

    def _rows(
        self, indices: list[int], requests: Sequence[Request], sampling: Sampling
    ) -> list[Row]:
        tokens = self.encode([requests[i].prefix + requests[i].text for i in indices])
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
                torch.from_numpy(
                    random_stream(sampling.seed, requests[index].hash(), sampling.max_new_tokens)
                ),
                [],
            )
            for index, ids in zip(indices, tokens, strict=True)
        ]

    def _prefill_prefix(self, ids: list[int]) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Compute the prefix's keys and values, each `(kv_heads, prefix, head_size)`, a layer."""
        if not ids:
            return []
        self.model.set_attn_implementation("sdpa")
        cache = DynamicCache()
        self.model(torch.tensor([ids], device=self.device), past_key_values=cache, logits_to_keep=1)
        return [
            (layer.keys[0].contiguous(), layer.values[0].contiguous()) for layer in cache.layers
        ]

    def _generate_batch(
        self,
        rows: list[Row],
        shared: SharedPrefix,
        sampling: Sampling,
        on_tokens: Callable[[int], None],
    ) -> Iterator[tuple[int, Completion]]:
        """Continue rows that are in one batch; a finished row leaves it at once."""
        if self.shares_prefix:
            self.model.set_attn_implementation(ATTENTION)
        inputs, key_positions = self._pad([row.tokens[shared.length :] for row in rows], shared)
        query_positions = key_positions
        cache = DynamicCache()
        while rows:
            shared.step(query_positions, key_positions)
            logits = self._forward(inputs, shared, cache)
            step = len(rows[0].generated)
            uniforms = torch.stack([row.uniforms[step] for row in rows]).to(self.device)
            tokens = sample_tokens(logits, uniforms, sampling.temperature, sampling.top_p)
            on_tokens(len(rows))
            kept = []
            for i, token in enumerate(tokens.tolist()):
                rows[i].generated.append(token)
                completion = self._finish(rows[i].generated, sampling)
                if completion:
                    yield rows[i].index, completion
                else:
                    kept.append(i)
            if len(kept) < len(rows):
                rows = [rows[i] for i in kept]
                select = torch.tensor(kept, dtype=torch.long, device=self.device)
                tokens, key_positions = tokens[select], key_positions[select]
                if rows:
                    cache.batch_select_indices(select)
            inputs = tokens[:, None]
            query_positions = key_positions[:, -1:] + 1
            key_positions = torch.cat([key_positions, query_positions], dim=1)

    def _pad(
        self, suffixes: list[list[int]], shared: SharedPrefix
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Pad on the left; returns ids and absolute positions `(batch, length)`, -1 for padding."""
        width = max(map(len, suffixes))
        inputs = torch.zeros(len(suffixes), width, dtype=torch.long)
        positions = torch.full((len(suffixes), width), -1)
        for i, ids in enumerate(suffixes):
            inputs[i, width - len(ids) :] = torch.tensor(ids)
            positions[i, width - len(ids) :] = torch.arange(len(ids)) + shared.length
        return inputs.to(self.device), positions.to(self.device)

    def _forward(
        self, inputs: torch.Tensor, shared: SharedPrefix, cache: DynamicCache
    ) -> torch.Tensor:
        """Return the next token's logits `(batch, vocabulary)`."""
        if self.shares_prefix:
            # A mask of four dimensions is passed on as it is; our attention goes by positions.
            extra = {"attention_mask": inputs.new_zeros(1, 1, 1, 1), "shared": shared}
        else:
            extra = {"attention_mask": (shared.key_positions >= 0).long()}
        output = self.model(
            inputs,
            position_ids=shared.query_positions.clamp(min=0),
            past_key_values=cache,
            logits_to_keep=1,
            **extra,
        )
        logits: torch.Tensor = output.logits[:, -1]
        return logits

    def _finish(self, generated: list[int], sampling: Sampling) -> Completion | None:
        """Return the completion if its last token ended it."""
        reason: FinishReason
        if generated[-1] in self.end_ids:
            reason, tokens = "eos", generated[:-1]
        elif sampling.stop and self._stopped(generated, sampling.stop):
            reason, tokens = "stop", generated
        elif len(generated) == sampling.max_new_tokens:
            reason, tokens = "length", generated
        else:
            return None
        text = self.tokenizer.decode(tokens, skip_special_tokens=True)
        if reason == "stop":
            text = text[: min(i for i in map(text.find, sampling.stop) if i >= 0)]
        return Completion(text, reason, len(generated))

    def _stopped(self, generated: list[int], stop: tuple[str, ...]) -> bool:
        """Tell whether a stop string is complete; only the tokens that can hold it are decoded."""
        window = max(len(s.encode()) for s in stop) + 1
        tail = self.tokenizer.decode(generated[-window:], skip_special_tokens=True)
        if not any(s in tail for s in stop):
            return False
        # The tail may begin within a character; the whole text decides.
        text = self.tokenizer.decode(generated, skip_special_tokens=True)
        return any(s in text for s in stop)
