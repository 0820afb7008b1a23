"""What a run says of itself."""

import sys
from pathlib import Path
from typing import Any

from kedro.io import DataCatalog, MemoryDataset, Version
from kedro.pipeline import Node, Pipeline
from option_values import PARAMETERS

from almost_kedro.datasets.optional import OptionalJSONDataset
from almost_kedro.datasets.whole_file import JSONFileDataset
from almost_kedro.hooks.run_facts import read_versions
from almost_kedro.hooks.run_record import RunRecordHook, describe_run, read_packages

PARAMS = {"session_id": "V2", "env": None, "pipeline_names": ["evaluation"], "project_path": "/"}


def show(run_record: dict[str, Any], gate: dict[str, Any]) -> dict[str, Any]:
    return {**run_record, **gate}


def make_catalog(root: Path) -> DataCatalog:
    gate = JSONFileDataset(filepath=str(root / "gate.json"), version=Version(None, "V1"))
    gate.save({"passed": True})
    return DataCatalog(
        {
            "gate": JSONFileDataset(filepath=str(root / "gate.json"), version=Version(None, "V2")),
            "run_record": JSONFileDataset(
                filepath=str(root / "run_record.json"), version=Version(None, "V2")
            ),
            "parameters": MemoryDataset({**PARAMETERS, "seed": 3}),
        }
    )


def test_a_node_that_asks_gets_the_run_with_the_versions_that_it_loaded(tmp_path: Path) -> None:
    catalog = make_catalog(tmp_path)
    node = Node(show, ["run_record", "gate"], "shown", name="show")
    hook = RunRecordHook()
    hook.before_pipeline_run(PARAMS, Pipeline([node]), catalog)
    inputs = {name: catalog.load(name) for name in node.inputs}
    found = hook.before_node_run(node, catalog, inputs)
    assert found is not None
    record = found["run_record"]
    assert record["session_id"] == "V2"
    assert record["env"] == "base"
    assert record["pipeline"] == "evaluation"
    assert record["options"]["seed"] == 3
    # No file sets it.
    assert record["options"]["rules"] == "corrected"
    assert record["versions"] == {"gate": "V1", "run_record": "V2"}
    assert record["git_commit"]
    assert inputs["run_record"] == {**record, "versions": {}}


def test_other_nodes_get_nothing(tmp_path: Path) -> None:
    catalog = make_catalog(tmp_path)
    node = Node(list, ["gate"], "shown", name="list")
    hook = RunRecordHook()
    hook.before_pipeline_run(PARAMS, Pipeline([node]), catalog)
    assert hook.before_node_run(node, catalog, {"gate": {}}) is None
    assert not catalog.exists("run_record")


def test_a_run_of_everything_is_named_as_kedro_does() -> None:
    params = {**PARAMS, "pipeline_names": None, "pipeline_name": None}
    assert describe_run(params, PARAMETERS)["pipeline"] == "__default__"


def test_a_password_is_no_part_of_it() -> None:
    options = {**PARAMETERS, "mlflow_uri": "https://me:secret@runs.example.org/mlflow"}
    found = describe_run(PARAMS, options)["options"]
    assert found["mlflow_uri"] == "https://***@runs.example.org/mlflow"
    assert describe_run(PARAMS, PARAMETERS)["options"]["mlflow_uri"] is None


def test_only_installed_packages_have_versions() -> None:
    found = read_packages()
    assert {"kedro", "torch", "transformers", "trl"} <= found.keys()
    assert all(found.values())
    assert describe_run(PARAMS, PARAMETERS)["packages"]["python"] == sys.version.split()[0]


def test_what_was_never_made_loads_as_none_and_has_no_version(tmp_path: Path) -> None:
    path = str(tmp_path / "audit.json")
    audit = OptionalJSONDataset(filepath=path, version=Version(None, "V1"))
    assert audit.load() is None
    assert read_versions(DataCatalog({"audit": audit}), ["audit"]) == {}
    audit.save({"n": 1})
    later = OptionalJSONDataset(filepath=path, version=Version(None, None))
    assert later.load() == {"n": 1}
    assert read_versions(DataCatalog({"audit": later}), ["audit"]) == {"audit": "V1"}


def test_an_unversioned_document_may_be_absent_too(tmp_path: Path) -> None:
    assert OptionalJSONDataset(filepath=str(tmp_path / "none.json")).load() is None
