"""Options are checked before Kedro reads them."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import yaml  # type: ignore[import-untyped]
from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.framework.project import LOGGING

from almost_kedro.options.all import check_options
from almost_kedro.places import check_roots, resolve_paths


class OptionsHook:
    """Refuses bad options before Kedro reads them, and resolves their paths in the project."""

    @hook_impl(tryfirst=True)
    def after_context_created(self, context: KedroContext) -> None:
        """Check all parameters of the environment, unknown names included."""
        configure_logging(context.project_path)
        loader = context.config_loader
        parameters = loader["parameters"]
        check_options(parameters)
        check_roots(parameters, loader["globals"], loader.runtime_params or {})
        # From now on, the loader returns what is set here.
        loader["parameters"] = resolve_paths(parameters, context.project_path)


def configure_logging(project: Path) -> None:
    """Log as conf/logging.yml says; Kedro itself looks for it only in the working folder.

    Logging stays as it is if KEDRO_LOGGING_CONFIG or a user's script has set it up.
    """
    file = project / "conf/logging.yml"
    kinds = {type(handler).__module__ for handler in logging.getLogger().handlers}
    ours = kinds == {"kedro.logging"} and not os.environ.get("KEDRO_LOGGING_CONFIG")
    if ours and file.is_file():
        LOGGING.configure(yaml.safe_load(file.read_text(encoding="utf-8")))
