"""Sweeps in a notebook, in a real kernel: a function of a cell, one line of progress, and a run that shows itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

SLOW = """
import os, signal, threading, time
from pathlib import Path

def slow(a):
    while not Path("go").exists():
        time.sleep(0.01)
    return a

def press():  # the stop button sends this signal; the run is there when it has its lock
    while not Path("runs/slow/.lock").exists():
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGINT)

threading.Thread(target=press).start()
run = sf.sweep(slow, {"a": range(4)}, name="slow")
run.state
"""
CELLS = (
    "import sweepfleet as sf\nSCALE = 2",
    "def fit(a):\n    return {'loss': abs(SCALE * a - 6)}",
    "run = sf.sweep(fit, {'a': range(20)}, metric='loss', name='cell')\nrun",
    "SCALE = 3\nrun = sf.sweep(fit, {'a': range(21)}, metric='loss', name='cell')\nrun.summary['notes']",
    SLOW,
    "Path('go').touch()\nrun.wait()\nrun.state, run.frame().height",
)


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Any]]:
    """The cells as they are after the notebook has run."""
    folder = tmp_path_factory.mktemp("notebook")
    (folder / "pyproject.toml").write_text("[project]\nname = 'mine'\nversion = '0'\n")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in CELLS])
    client = NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}})
    try:
        yield client.execute()["cells"]
    finally:
        Path(folder, "go").touch()


def outputs(cell: Any, kind: str) -> list[Any]:
    return [each["data"][kind] for each in cell["outputs"] if kind in each.get("data", {})]


def printed(cell: Any) -> str:
    return "".join(each["text"] for each in cell["outputs"] if each["output_type"] == "stream")


def test_progress_is_one_line_and_the_run_shows_its_summary_and_its_report(cells: list[Any]) -> None:
    line, page = outputs(cells[2], "text/html")
    assert line.startswith("<code>20 of 20 · 20 done")
    assert page.startswith("<pre>Done: 20 of 20 points done")
    assert "Best loss: 0 at a=3" in page
    assert '<iframe srcdoc="&lt;!doctype html&gt;' in page


def test_a_cell_that_changes_a_variable_changes_the_code(cells: list[Any]) -> None:
    assert "function.pickle" in outputs(cells[3], "text/plain")[-1]


def test_an_interrupt_ends_the_waiting_and_the_sweep_goes_on(cells: list[Any]) -> None:
    assert "slow is running. Wait for it: run.wait() · Cancel it: run.cancel()" in printed(cells[4])
    assert outputs(cells[4], "text/plain")[-1] == "'running'"
    assert outputs(cells[5], "text/plain")[-1] == "('done', 4)"
