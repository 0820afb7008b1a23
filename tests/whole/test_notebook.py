"""The notebook runs from its first cell to its last, on what the pipelines made."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient


@pytest.mark.slow
def test_every_cell_runs_and_every_chart_is_drawn(project: Path, evaluated: Path) -> None:
    notebook = nbformat.read(project / "notebooks/explore_comparisons.ipynb", as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert "%load_ext kedro.ipython" in cells[0].source
    cells[0].source += f"\n%reload_kedro --env smoke --params data_root={evaluated}"
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": project}}).execute()
    for cell in cells:
        kinds = {kind for output in cell.outputs for kind in output.get("data", {})}
        assert ("go.Figure" in cell.source) == ("application/vnd.plotly.v1+json" in kinds)
