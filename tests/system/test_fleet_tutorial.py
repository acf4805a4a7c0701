"""The tutorial's notebook in the rehearsal cloud: from a laptop to a cluster, and everything away at the end."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from typing import Any

import nbformat
import pytest

from tests import tutorial
from tests.cloud import engine
from tests.cloud.rehearsal.cloud import Cloud
from tests.cloud.rehearsal.host import why_not
from tests.cloud.rehearsed import DEADLINE_S, Laptop
from tests.tutorial import NOTEBOOK, is_for_a_cluster, said

pytestmark = [
    pytest.mark.rehearsal,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]
KEEP = "SWEEPFLEET_TUTORIAL"  # set: what was printed goes into the notebook and the page


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    with Cloud(tmp_path_factory.mktemp("cloud")) as cloud:
        made = Laptop(cloud, tmp_path_factory.mktemp("laptop"))
        made.up(maxWorkers=2)
        made.push()
        yield made


def shape(text: str) -> str:
    """What a cell prints, with one sign for what differs from one cluster to the next: numbers, prices, releases."""
    return re.sub(r"\b(?=[0-9a-f]*\d)[0-9a-f]{10}\b|(?:at most )?<?\d[\d.,]*", "#", text)


def test_the_notebook_runs_from_the_laptop_and_prints_what_is_shown(laptop: Laptop) -> None:
    file = laptop.home / "tutorial.ipynb"
    laptop.cloud.laptop.run(
        [sys.executable, "-m", "tests.tutorial", file], cwd=laptop.path, env=laptop.env, timeout_s=DEADLINE_S
    )
    executed = nbformat.read(file, 4)
    if os.environ.get(KEEP):
        tutorial.merge(executed)
    assert shapes(executed) == shapes(nbformat.read(NOTEBOOK, 4))
    assert (laptop.path / "runs" / "hundred" / "report.html").exists()
    if engine.installed():
        assert "The stack dev is down" in laptop.inv("down", "--yes").stdout


def shapes(notebook: Any) -> list[str]:
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return [shape(said(cell)) for cell in code if is_for_a_cluster(cell)]
