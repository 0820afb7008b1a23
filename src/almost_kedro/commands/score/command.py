"""Scores a file with a reward model of the run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kedro.framework.context import KedroContext
from kedro.io import DataCatalog

from almost_kedro.commands.checkpoints import load_reward_model
from almost_kedro.commands.score.answers import list_answers, read_file
from almost_kedro.errors import UserError
from almost_kedro.jobs.reward_models import make_scorer
from almost_kedro.jobs.score import score
from almost_kedro.options.all import check_options
from almost_kedro.processes.locks import hold_root


def score_file(
    context: KedroContext, file: Path, name: str, version: str | None
) -> Iterator[dict[str, Any]]:
    """Yield the rewards of each line (log-odds), `name` being the reward model.

    They are kept: the same answers are scored once. Raises UserError for a line that can't be
    read, before anything is scored.
    """
    options, catalog = check_options(context.config_loader["parameters"]), context.catalog
    assert isinstance(catalog, DataCatalog)
    checkpoint = load_reward_model(catalog, name, version)
    if not file.exists():
        raise UserError(f"{file}: there is no such file; give JSON lines of answers")
    answers = list_answers(read_file(file), file, options.rules)
    scorer = make_scorer(checkpoint, options, catalog.load("workplace"))
    with hold_root(Path(options.data_root)):
        rewards, _ = score(scorer, [row for rows in answers.values() for row in rows])
    for number, rows in answers.items():
        found = {row["id"].split(":")[1]: rewards[row["id"]] for row in rows}
        if "answer" in found:
            yield {"line": number, "reward": found["answer"]}
        else:
            margin = found["chosen"] - found["rejected"]
            yield {"line": number, **found, "margin": margin}
