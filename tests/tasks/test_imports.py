"""A command imports what it uses, and nothing else that takes time."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys

import pytest

from tests.command import ROOT, Project

HEAVY = (
    *("boto3", "botocore", "cryptography", "dask", "distributed", "fabric", "importlib.metadata", "jinja2", "numpy"),
    *("paramiko", "plotly", "polars", "psutil", "pulumi", "pydantic", "rich.console", "ruamel", "scipy", "tornado"),
)
GRID = {"pydantic", "ruamel"}
TABLES = {"polars", "numpy", "importlib.metadata"}
RUN = """
import json, sys
from invoke.main import program
program.run(["inv", *sys.argv[2:]], exit=False)
print(json.dumps([name for name in sys.argv[1].split() if name in sys.modules]))
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A run of two points, all done."""
    made = Project(tmp_path_factory.mktemp("project")).write(
        "name: r\nrun: fit:fit\nparameters: {a: [1, 2]}\n", "def fit(a):\n    print(a)\n    return a\n"
    )
    made.sweep()
    return made


@pytest.mark.parametrize(
    ("command", "may"),
    [
        ("--list", set()),
        ("--help sweep", set()),
        ("version", {"importlib.metadata"}),
        ("runs", set()),
        ("output r --point 0", set()),
        ("report r", TABLES | {"plotly", "psutil"}),
        ("rm r", set()),  # which asks, and nobody is there
        ("results r", TABLES),
        ("results r --best 1", TABLES),
        ("rm r --where a<0", TABLES),
        ("sweep {grid} --preview", GRID | {"importlib.metadata"}),
        ("sweep {grid}", GRID | {"importlib.metadata"}),  # nothing is left to run
        ("status", {"boto3", "botocore", "cryptography", "fabric", "paramiko", "importlib.metadata"}),
        ("doctor", {"ruamel", "boto3", "botocore", "cryptography", "fabric", "paramiko", "importlib.metadata"}),
    ],
)
def test_a_command_imports_nothing_heavy_that_it_does_not_use(project: Project, command: str, may: set[str]) -> None:
    words = shlex.split(command.format(grid=project.grid))
    done = subprocess.run(
        [sys.executable, "-c", RUN, " ".join(HEAVY), *words],
        cwd=ROOT,
        env=os.environ | {"INVOKE_RUNS": str(project.runs), "PATH": os.defpath},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(json.loads(done.stdout.splitlines()[-1])) - may == set(), done.stderr
