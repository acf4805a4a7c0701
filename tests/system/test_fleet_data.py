"""Data files that Git does not track, in the rehearsal cloud: sent once, on every machine where targets open them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from sweepfleet.machine.facts import HOME
from tests.cloud.rehearsal.cloud import Cloud
from tests.cloud.rehearsal.host import why_not
from tests.cloud.rehearsed import Laptop

pytestmark = [
    pytest.mark.rehearsal,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]
GRID = "name: {name}\nrun: trial.fit:fit\nparameters: {{a: [1, 2, 3]}}\n"
FIT = """\
from pathlib import Path


def fit(a, project_dir):
    table = Path(project_dir, "data", "table.csv")
    return {"sum": a * int(table.read_text())}
"""
SETTINGS = "[tool.sweepfleet]\n"


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    """One whose project includes a folder that Git ignores, with its cluster up."""
    with Cloud(tmp_path_factory.mktemp("cloud")) as cloud:
        made = Laptop(cloud, tmp_path_factory.mktemp("laptop"))
        settings = (made.path / "pyproject.toml").read_text()
        if SETTINGS not in settings:
            settings += SETTINGS
        write(made.path, "pyproject.toml", settings.replace(SETTINGS, f'{SETTINGS}include = ["data/"]\n'))
        write(made.path, ".gitignore", (made.path / ".gitignore").read_text() + "/data/\n")
        write(made.path, "data/table.csv", "7")
        write(made.path, "trial/fit.py", FIT)
        made.commit("A trial")
        made.up(maxWorkers=1)
        yield made


def write(root: Path, name: str, text: str) -> None:
    (root / name).parent.mkdir(exist_ok=True)
    (root / name).write_text(text)


def sums(laptop: Laptop, name: str, *words: str) -> list[int]:
    """What the points of a new sweep have read."""
    write(laptop.path, f"trial/{name}.yaml", GRID.format(name=name))
    laptop.inv("sweep", "--grid", f"trial/{name}.yaml", *words)
    rows = [json.loads(line) for line in laptop.inv("results", name, "--json").stdout.splitlines()]
    return sorted(row["metric.sum"] for row in rows)


def test_data_are_sent_once_and_are_where_the_targets_open_them(laptop: Laptop) -> None:
    """Before and after another commit, and again once they have changed."""
    laptop.lend_environment()
    said = laptop.inv("push").stdout
    assert "With it: data/, 1 file, 0.0 MB\n" in said
    assert "Sending data/" in said
    assert "The head is storing data/, 0.0 MB" in said
    assert sums(laptop, "first") == [7, 14, 21]

    write(laptop.path, "trial/fit.py", FIT + "# more\n")
    laptop.commit("More")
    said = laptop.inv("push").stdout
    assert "With it: data/, 1 file, 0.0 MB; the cluster has it already" in said
    assert "Sending data/" not in said
    assert sums(laptop, "second") == [7, 14, 21]
    assert on_head(laptop, f"stat -c %h {HOME.all_data}/*/data/table.csv") == ["3"]  # its own, and of two releases

    write(laptop.path, "data/table.csv", "8")
    write(laptop.path, "trial/third.yaml", GRID.format(name="third"))
    refused = laptop.inv("sweep", "--grid", "trial/third.yaml", code=2).stderr
    assert "Files of the target that differ: data/table.csv." in refused
    assert sums(laptop, "third", "--push") == [8, 16, 24]
    assert on_head(laptop, f"grep -h . {HOME.all_data}/*/data/table.csv | sort") == ["7", "8"]


def on_head(laptop: Laptop, command: str) -> list[str]:
    """The lines that a command on the head prints."""
    return laptop.inv("run", "--", command).stdout.splitlines()
