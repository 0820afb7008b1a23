"""A checkpoint as it is published: its files, and the card that says how far it can be trusted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kedro.io import DataCatalog

from almost_kedro.commands.checkpoints import (
    POLICIES,
    REWARD_MODELS,
    load_policy,
    load_reward_model,
)
from almost_kedro.commands.publish.licenses import choose_model_license
from almost_kedro.commands.publish.publication import Publication, gather_checkpoint
from almost_kedro.commands.trace.catalog import find_versions
from almost_kedro.commands.versions import find_made_from
from almost_kedro.errors import UserError
from almost_kedro.models.checkpoints import Checkpoint
from almost_kedro.pages.cards import read_head, write_head
from almost_kedro.pages.reward_card import write_reward_card

MODEL_CARD = "model_card"
# Only the reward model has to pass it.
GATES = {"reward_model": "gate"}

Entries = Mapping[str, Mapping[str, Any]]


def prepare_policy(
    catalog: DataCatalog, name: str, version: str | None, given: str | None, entries: Entries
) -> Publication:
    """Prepare a policy with the card of its run; `given` is `--license`, `entries` models.yml."""
    checkpoint = load_policy(catalog, name, version)
    version = checkpoint.folder.parent.name
    base = find_base(catalog, checkpoint)
    license_id, note = choose_model_license(given, base, entries.get(base))
    card = load_made_from(catalog, MODEL_CARD, POLICIES[name], version, "evaluation")
    head, body = read_head(card)
    # The run's card is about all policies of the chain.
    title = f"`{name}` is the policy in this repository."
    card = write_head({**head, "license": license_id}, f"{title}\n\n{body}")
    return Publication("model", f"{name} {version}", gather_checkpoint(checkpoint, card), note)


def find_base(catalog: DataCatalog, checkpoint: Checkpoint) -> str:
    """Return the model of models.yml from which a policy was trained, over any policies between."""
    manifest = checkpoint.manifest
    names = {dataset: name for name, dataset in POLICIES.items()}
    while manifest["base"]["name"] in names:
        dataset = manifest["base"]["name"]
        version = manifest["parents"].get(dataset)
        manifest = load_policy(catalog, names[dataset], version).manifest
    return str(manifest["base"]["name"])


def prepare_reward_model(
    catalog: DataCatalog, name: str, version: str | None, given: str | None, entries: Entries
) -> Publication:
    """Prepare a reward model; see `prepare_policy`."""
    checkpoint = load_reward_model(catalog, name, version)
    version = checkpoint.folder.parent.name
    base = checkpoint.manifest["base"]["name"]
    license_id, note = choose_model_license(given, base, entries.get(base))
    pipeline = REWARD_MODELS[name]
    metrics = load_made_from(catalog, f"{name}_metrics", name, version, pipeline)
    gate = load_made_from(catalog, GATES[name], name, version, pipeline) if name in GATES else None
    card = write_reward_card(
        checkpoint.manifest, version, license_id, entries.get(base, {}), metrics, gate
    )
    return Publication("model", f"{name} {version}", gather_checkpoint(checkpoint, card), note)


def load_made_from(
    catalog: DataCatalog, name: str, dataset: str, version: str, pipeline: str
) -> Any:
    """Load what a pipeline made of a version of a checkpoint; raise UserError if it did not."""
    found = find_made_from(find_versions(catalog, name), find_versions(catalog, dataset), version)
    if found is None:
        raise UserError(
            f"{dataset}: there is no {name} of version {version}, which its card needs; run "
            f"`kedro run --pipeline {pipeline}` first, with the same --env"
        )
    return catalog.load(name, version=found)
