from pathlib import Path

import pytest
from kedro.framework.context import KedroContext
from kedro.framework.startup import bootstrap_project
from publications import make_root

from almost_kedro.cli.project import load_context


@pytest.fixture(scope="session")
def root(tiny_models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_root(tmp_path_factory.mktemp("root"), tiny_models["tiny-small"])


@pytest.fixture(scope="session")
def context(project: Path, root: Path) -> KedroContext:
    bootstrap_project(project)
    return load_context(project, "smoke", {"data_root": str(root)})
