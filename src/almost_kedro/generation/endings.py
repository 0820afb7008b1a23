"""When a row is finished: at an end token, a stop string, or the maximum length."""

from __future__ import annotations

from collections.abc import Collection

from transformers import GenerationConfig, PreTrainedTokenizerBase

from almost_kedro.contract import Completion, FinishReason, Sampling


class Endings:
    """Tells finished rows from unfinished ones."""

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, end_ids: Collection[int], sampling: Sampling
    ):
        """Say what ends a row; `sampling` gives stop strings and the number of tokens."""
        self.tokenizer, self.end_ids, self.sampling = tokenizer, end_ids, sampling
        self.window = max((len(s.encode()) for s in sampling.stop), default=0) + 1
        # By token: can it complete a stop string?
        self.completes: dict[int, bool] = {}

    def complete(self, generated: list[int]) -> Completion | None:
        """Return the completion if the last token ended it."""
        reason: FinishReason
        if generated[-1] in self.end_ids:
            reason, tokens = "eos", generated[:-1]
        elif self._stopped(generated):
            reason, tokens = "stop", generated
        elif len(generated) == self.sampling.max_new_tokens:
            reason, tokens = "length", generated
        else:
            return None
        text = self._decode(tokens)
        if reason == "stop":
            text = text[: min(i for i in map(text.find, self.sampling.stop) if i >= 0)]
        return Completion(text, reason, len(generated))

    def _decode(self, tokens: list[int]) -> str:
        text: str = self.tokenizer.decode(tokens, skip_special_tokens=True)
        return text

    def _stopped(self, generated: list[int]) -> bool:
        """Tell whether a stop string is complete; decode only the tokens that can hold it."""
        if not self.sampling.stop or not self._can_complete(generated[-1]):
            return False
        tail = self._decode(generated[-self.window :])
        if not any(s in tail for s in self.sampling.stop):
            return False
        # The tail may begin inside a character, so the whole text decides.
        text = self._decode(generated)
        return any(s in text for s in self.sampling.stop)

    def _can_complete(self, token: int) -> bool:
        """Tell whether a token holds the last character of a stop string, or part of a character.

        Few tokens do, and a lookup is cheaper than decoding every row at every step. Stop strings
        that end in a space are not looked up: some tokenizers drop the space at a token's
        beginning.
        """
        if token not in self.completes:
            text = self._decode([token])
            ends = {s[-1] for s in self.sampling.stop} | {"�"}
            self.completes[token] = " " in ends or any(end in text for end in ends)
        return self.completes[token]


def find_end_ids(configured: GenerationConfig, end_ids: Collection[int]) -> set[int]:
    """Collect the ids that end a text: `end_ids`, and those that the model is configured with."""
    found = configured.eos_token_id
    ids = found if isinstance(found, list) else [found]
    return {i for i in ids if i is not None} | set(end_ids)
