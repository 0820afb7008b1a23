"""The job file of the calibration program."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from almost_kedro.generation.job import ModelFolder, Part
from almost_kedro.training_options import LaunchOptions, RewardModelOptions


class CalibrationJob(Part):
    """What is measured; see `calibrate`.

    Attributes:
        kind: Generating and reading, or training: each in a process of its own, as in a run.
        model: The model.
        dtype: Numbers that it generates with.
        prefix: Demonstrations.
        texts: What follows them.
        reward_model: How reward models are trained.
        launch: How trainings are launched.
        text_tokens: Tokens of a text in training, about.
        out: The work folder.
    """

    kind: Literal["generation", "training"]
    model: ModelFolder
    dtype: Literal["auto", "bfloat16", "float32"]
    prefix: str
    texts: list[str]
    reward_model: RewardModelOptions
    launch: LaunchOptions
    text_tokens: int
    out: Path
