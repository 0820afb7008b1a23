from pathlib import Path

import pytest
from datasets import DatasetDict
from exports import load_export, make_root, open_catalog, run_export
from kedro.io import DataCatalog


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_root(tmp_path_factory.mktemp("root"))


@pytest.fixture(scope="session")
def catalog(project: Path, root: Path) -> DataCatalog:
    return open_catalog(project, root)


@pytest.fixture(scope="session")
def preferences(project: Path, root: Path, tmp_path_factory: pytest.TempPathFactory) -> DatasetDict:
    folder = tmp_path_factory.mktemp("preference") / "export"
    done = run_export(project, root, folder, "comparisons", "--format", "preference")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-4:] == [
        "train       8 rows, prompts used for reward_model",
        "test        4 rows, prompts used for held_out",
        "judge       3 rows, prompts used for held_out_reward_model",
        str(folder),
    ]
    return load_export(folder)
