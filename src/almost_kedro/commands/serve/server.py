"""The command that serves a checkpoint by vLLM, with everything that the model needs."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from almost_kedro.errors import UserError
from almost_kedro.models.chat_template import TEMPLATE
from almost_kedro.models.checkpoints import CONFIG, Checkpoint

# The environment of `make .venv-vllm/installed`.
OWN = ".venv-vllm"
SERVER = "vllm.entrypoints.openai.api_server"


class Address(NamedTuple):
    """Where a server listens."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """The base of its interface."""
        return f"http://{self.host}:{self.port}"


def build_arguments(
    checkpoint: Checkpoint, name: str, address: Address, more: Sequence[str]
) -> list[str]:
    """Return the arguments of `vllm serve` after the model's folder; `more` are added.

    A policy is computed with the numbers that it is stored in. A reward model is computed in
    float32, and its rewards are given as they are: vLLM would make probabilities of them.
    """
    config = json.loads((checkpoint.folder / CONFIG).read_text(encoding="utf-8"))
    arguments = ["--served-model-name", name, "--host", address.host, "--port", str(address.port)]
    if checkpoint.manifest["kind"] == "policy":
        arguments += ["--dtype", str(config.get("dtype", "auto"))]
    else:
        arguments += ["--dtype", "float32", "--runner", "pooling", "--convert", "classify"]
        arguments += ["--pooler-config", json.dumps({"use_activation": False})]
    return [*arguments, *more]


def check_template(checkpoint: Checkpoint, name: str, pipeline: str) -> None:
    """Raise UserError if a checkpoint has no chat template: it was saved before there was one."""
    if TEMPLATE not in checkpoint.manifest["files"]:
        raise UserError(
            f"{name}: {checkpoint.folder} has no chat template; run `kedro run --pipeline "
            f"{pipeline}` again, which trains nothing anew and adds one. If it adds none, its log "
            "says why"
        )


def find_python(project: Path) -> str | None:
    """Return a Python that has vLLM: this one, or that of the project's own environment."""
    if importlib.util.find_spec("vllm"):
        return sys.executable
    own = project / OWN
    return str(own / "bin/python") if (own / "installed").is_file() else None


def count_endings(answers: Sequence[dict[str, Any]], name: str) -> tuple[int, int]:
    """Return how many test answers of a policy its own end token ended, and how many there are."""
    own = [row["finish_reason"] == "eos" for row in answers if row["policy"] == name]
    return sum(own), len(own)
