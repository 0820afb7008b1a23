"""Finds trained models by the names that people know them by."""

from __future__ import annotations

from kedro.io import DataCatalog, Version

from almost_kedro.datasets.checkpoint import CheckpointDataset
from almost_kedro.errors import UserError
from almost_kedro.evaluation.stages import TRAINED
from almost_kedro.models.checkpoints import Checkpoint

# By dataset, which is also their name: what trains it.
REWARD_MODELS = {"reward_model": "reward_model", "held_out_reward_model": "reward_model"}
# By name: its dataset.
POLICIES = {stage.name: stage.policy for stage in TRAINED}


# By name, of policies and reward models: what trains it.
PIPELINES = {**{stage.name: stage.pipeline for stage in TRAINED}, **REWARD_MODELS}


def load_policy(catalog: DataCatalog, name: str, version: str | None = None) -> Checkpoint:
    """Load the policy of a stage; see `load_checkpoint`."""
    if name not in POLICIES:
        raise UserError(f"policy {name!r}: unknown; there are {', '.join(POLICIES)}")
    return load_checkpoint(catalog, POLICIES[name], PIPELINES[name], version)


def load_reward_model(catalog: DataCatalog, name: str, version: str | None = None) -> Checkpoint:
    """Load a reward model; see `load_checkpoint`."""
    if name not in REWARD_MODELS:
        raise UserError(f"reward model {name!r}: unknown; there are {', '.join(REWARD_MODELS)}")
    return load_checkpoint(catalog, name, REWARD_MODELS[name], version)


def load_checkpoint(
    catalog: DataCatalog, dataset: str, pipeline: str, version: str | None = None
) -> Checkpoint:
    """Load a version of a checkpoint, None for the newest; `pipeline` trains it.

    Raises UserError if it was never trained, or if there is no such version.
    """
    found = catalog.get(dataset, version=Version(version, None) if version else None)
    assert isinstance(found, CheckpointDataset)
    if not found.exists():
        folder = found._describe()["filepath"]
        if version and catalog.exists(dataset):
            raise UserError(f"{dataset}: there is no version {version!r} in {folder}")
        raise UserError(
            f"{dataset} was never trained: nothing in {folder}; run `kedro run --pipeline "
            f"{pipeline}` first, with the same --env"
        )
    return found.load()
