"""The notebook in the documentation runs, and shows what it promises."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).resolve().parents[2] / "docs" / "from_alerts_to_classes.ipynb"
# In a process of its own: what Jupyter's libraries warn of is theirs.
RUN = """
import sys, nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], 4)
NotebookClient(notebook, timeout=200, kernel_name="python3", resources={"metadata": {"path": sys.argv[3]}}).execute()
nbformat.write(notebook, sys.argv[2])
"""


def cells_of(notebook: Path) -> list[dict[str, Any]]:
    """The cells; it is read as JSON because nbformat makes parsers for more than a second when it is imported."""
    cells: list[dict[str, Any]] = json.loads(notebook.read_text("utf-8"))["cells"]
    return cells


@pytest.mark.slow
@pytest.mark.timeout(280)
def test_notebook_goes_from_packets_to_pictures(tmp_path: Path) -> None:
    """Every cell runs; the result shows a table of objects, and both plots show as pictures by themselves."""
    out = tmp_path / "run.ipynb"
    command = [sys.executable, "-c", RUN, str(NOTEBOOK), str(out), str(NOTEBOOK.parents[1])]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=NOTEBOOK.parents[1])
    assert done.returncode == 0, done.stderr[-2000:]
    shown = [output.get("data", {}) for cell in cells_of(out) for output in cell.get("outputs", [])]
    assert sum("image/png" in data for data in shown) == 2
    assert any("<table>" in "".join(data.get("text/html", "")) for data in shown)


def test_notebook_was_run_before_it_was_kept() -> None:
    """What people see in the repository are outputs, not empty cells."""
    cells = [cell for cell in cells_of(NOTEBOOK) if cell["cell_type"] == "code"]
    assert all(cell["outputs"] for cell in cells[1:])
