"""Draws the next token of rows that are continued together."""

from __future__ import annotations

import numpy as np
import torch

from almost_kedro.contract import Completion
from almost_kedro.generation.endings import Endings
from almost_kedro.generation.sampling import LogitsError, sample_tokens
from almost_kedro.generation.scheduling import Row


def extend_rows(rows: list[Row], logits: torch.Tensor, endings: Endings) -> dict[int, Completion]:
    """Draw each row's next token from logits `(rows, vocabulary)`, and append it to the row.

    Return completions of the finished rows by number, ascending. LogitsError gives the index of a
    row whose logits are not finite.
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
