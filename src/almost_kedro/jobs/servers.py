"""Asks servers whether they are there."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from pydantic import SecretStr

from almost_kedro.jobs.generate import reveal
from almost_kedro.options.generation import GenerationOptions

logger = logging.getLogger(__name__)


def warn_of_silent_servers(
    models: list[str], generation: GenerationOptions, keys: Mapping[str, SecretStr]
) -> None:
    """Ask the models' servers whether they are ready; raise UserError if one never will be."""
    if generation.engine == "openai":
        from almost_kedro.generation.servers import check_servers

        for line in check_servers(models, generation, reveal(keys)):
            logger.warning("%s; it is needed for what the request cache lacks", line)
