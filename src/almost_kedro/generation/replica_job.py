"""The job of a replica, as JSON."""

from __future__ import annotations

from almost_kedro.contract import ModelFolder, Part
from almost_kedro.options.generation import GenerationOptions


class ReplicaJob(Part):
    """A model to be run beside others of its kind.

    Attributes:
        cores: The processor's cores that are its own.
        shares: Into how many parts the memory is divided, of which it has one.
    """

    model: ModelFolder
    generation: GenerationOptions
    cores: list[int]
    shares: int
