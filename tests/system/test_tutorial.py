"""The tutorial is true: its page and its notebook are one text, whose Python runs and prints what they show."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tests import tutorial
from tests.alike import alike
from tests.tutorial import NOTEBOOK, PAGE, is_for_a_cluster, said


def code(notebook: Any) -> list[Any]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


@pytest.fixture(scope="module")
def stored() -> Any:
    return nbformat.read(NOTEBOOK, 4)


def test_the_notebook_is_the_page(stored: Any) -> None:
    """If this fails: inv tutorial."""
    nbformat.validate(stored)
    made = tutorial.notebook(PAGE.read_text())
    kept = ("cell_type", "id", "source", "metadata")
    assert [{name: cell[name] for name in kept} for cell in stored["cells"]] == [
        {name: cell[name] for name in kept} for cell in made["cells"]
    ]
    assert len(code(stored)) > 7


def test_the_outputs_are_those_of_the_notebook(stored: Any) -> None:
    page = PAGE.read_text()
    assert tutorial.with_outputs(page, code(stored)) == page
    assert tutorial.PICTURE.exists()
    assert re.search(r"/(tmp|root|home)/", NOTEBOOK.read_text() + page) is None  # of the machine that ran it


def test_the_part_for_this_machine_runs_and_prints_what_is_shown(stored: Any, tmp_path: Path) -> None:
    here = [cell for cell in code(tutorial.notebook(PAGE.read_text())) if not is_for_a_cluster(cell)]
    shown = [alike(said(cell)) for cell in code(stored) if not is_for_a_cluster(cell)]
    assert [alike(said(cell)) for cell in tutorial.execute(here, tutorial.project(tmp_path))] == shown
    assert any(tutorial.FIGURE in output.get("data", {}) for cell in here for output in cell["outputs"])
