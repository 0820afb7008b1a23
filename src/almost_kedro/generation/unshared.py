"""Generation by a model's own attention, for models that share no prefix."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from transformers import DynamicCache, PreTrainedModel

from almost_kedro.contract import Completion
from almost_kedro.generation.scheduling import Row

# Draws each row's next token; given logits `(rows, vocabulary)`, returns completions by number.
Extend = Callable[[list[Row], torch.Tensor], dict[int, Completion]]


def continue_batch(
    model: PreTrainedModel, batch: list[Row], extend: Extend, on_tokens: Callable[[int], None]
) -> Iterator[tuple[int, Completion]]:
    """Continue rows of similar length until all are finished; yield their indices and completions.

    `on_tokens` is called with the number of tokens just drawn.
    """
    inputs, mask = pad([row.tokens for row in batch], model.device)
    cache = DynamicCache(config=model.config)
    while batch:
        output = model(
            inputs,
            attention_mask=mask,
            position_ids=(mask.cumsum(-1) - 1).clamp(min=0)[:, -inputs.shape[1] :],
            past_key_values=cache,
            logits_to_keep=1,
        )
        done = extend(batch, output.logits[:, -1])
        on_tokens(len(batch))
        yield from ((batch[number].index, found) for number, found in done.items())
        if done:
            kept = [number for number in range(len(batch)) if number not in done]
            batch = [batch[i] for i in kept]
            select = torch.tensor(kept, dtype=torch.long, device=model.device)
            mask = mask[select]
            if batch:
                # Unlike `batch_select_indices`, every kind of layer has it.
                cache.reorder_cache(select)
        inputs = torch.tensor([[row.last] for row in batch], device=model.device)
        mask = torch.cat([mask, mask.new_ones(len(batch), 1)], dim=1)


def pad(texts: list[list[int]], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Pad on the left; return ids and mask, each `(batch, length)`.

    Each text is padded with its own first token. The embedding of another token may be NaN, which
    no mask takes out of a product.
    """
    width = max(map(len, texts))
    ids = [[text[0]] * (width - len(text)) + text for text in texts]
    mask = [[0] * (width - len(text)) + [1] * len(text) for text in texts]
    return torch.tensor(ids, device=device), torch.tensor(mask, device=device)
