"""A user's own project, with its own lock, libraries and package, on its own cluster in the rehearsal cloud."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cloud.foreign import ForeignLaptop, build_sweepfleet
from tests.cloud.rehearsal.cloud import Cloud
from tests.cloud.rehearsal.host import why_not
from tests.cloud.rehearsed import STACK

pytestmark = [
    pytest.mark.rehearsal,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]
FIT = '''\
"""A model of somebody's own."""

import sys
from importlib.metadata import version

import pandas as pd
from sklearn.linear_model import Ridge

from acme_model.data import table


def fit(alpha: float) -> dict:
    frame: pd.DataFrame = table()
    model = Ridge(alpha=alpha).fit(frame[["x"]], frame["y"])
    return {"slope": float(model.coef_[0]), "acme": version("acme-model"), "file": __file__}


def main() -> None:
    print(f'{{"slope": {fit(float(sys.argv[1]))["slope"]}}}')
'''
DATA = """\
from pathlib import Path

import pandas as pd


def table() -> pd.DataFrame:
    return pd.read_csv(Path(__file__).with_name("table.csv"))
"""
ALPHAS = "parameters: {alpha: [0.1, 1, 10]}\n"
FILES = {
    "README.md": "A model.\n",
    "src/acme_model/__init__.py": "",
    "src/acme_model/fit.py": FIT,
    "src/acme_model/data.py": DATA,
    "src/acme_model/table.csv": "x,y\n0,0\n1,2\n2,4\n3,6\n",
    "sweeps/here.yaml": f"run: acme_model.fit:fit\n{ALPHAS}",
    "sweeps/there.yaml": f"run: acme_model.fit:fit\n{ALPHAS}",
    "sweeps/program.yaml": f"command: [acme-fit, '{{alpha}}']\n{ALPHAS}",
}


PASSWORD = "open-sesame"  # noqa: S105 - of nobody
NETRC = f"machine pypi.example.org login ada password {PASSWORD}"


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForeignLaptop]:
    with Cloud(tmp_path_factory.mktemp("cloud")) as cloud:
        wheel = build_sweepfleet(tmp_path_factory.mktemp("wheels"))
        needs = ("pandas>=2.2", "scikit-learn>=1.7")
        yield ForeignLaptop(cloud, tmp_path_factory.mktemp("laptop"), FILES, needs=needs, wheel=wheel)


def test_a_foreign_project_sweeps_here_and_on_its_own_cluster(laptop: ForeignLaptop) -> None:
    """From `init --cluster` to results. Its package is installed there, and its rows are of the same code as here."""
    assert "Done: 3 of 3" in laptop.inv("sweep", "sweeps/here.yaml").stdout
    laptop.inv("init", "--cluster", "--yes")
    laptop.commit("A cluster")
    laptop.up()
    secret = {"Name": f"/sweepfleet/{STACK}/netrc", "Type": "SecureString", "Value": NETRC}
    laptop.cloud.client("ssm").put_parameter(**secret)
    said = laptop.inv("push").stdout
    assert "The head is building the environment" in said
    assert "without a password" not in said
    head = laptop.head()
    assert PASSWORD not in said + head.run(["journalctl", "--no-pager"]).stdout
    assert "netrc" not in head.run(["ls", "/run"]).stdout
    assert "Done: 3 of 3" in laptop.inv("sweep", "sweeps/there.yaml", "--workers", "1").stdout
    here, there = laptop.table("here").sort("param.alpha"), laptop.table("there").sort("param.alpha")
    assert here["metric.slope"].to_list() == pytest.approx(there["metric.slope"].to_list())
    assert here["code"].to_list() == there["code"].to_list()
    assert set(there["metric.acme"]) == {"1.2.3"}
    assert all(file.startswith("/opt/sweepfleet/releases/") for file in there["metric.file"])
    assert laptop.manifest("there")["sweepfleet"] == laptop.manifest("here")["sweepfleet"]
    assert (laptop.path / "runs" / "there" / "report.html").exists()
    installed = head.run(["ls", "/opt/sweepfleet/environment/lib/python3.11/site-packages"]).stdout.split()
    assert {"pandas", "sklearn", "bokeh", "obstore"} <= set(installed)
    assert {"boto3", "pulumi", "iniconfig", "sweepfleet", "acme_model"}.isdisjoint(installed)


def test_a_program_of_its_package_is_a_command_there(laptop: ForeignLaptop) -> None:
    assert "Done: 3 of 3" in laptop.inv("sweep", "sweeps/program.yaml").stdout


def test_the_same_push_again_sends_nothing(laptop: ForeignLaptop) -> None:
    """Its package is built anew, and is the same."""
    assert "The cluster has this release already" in laptop.inv("push").stdout


def test_an_edit_of_its_package_is_a_release_with_the_environment_before(laptop: ForeignLaptop) -> None:
    """And is a file of the target, also where the grid does not lie beside it."""
    fit = laptop.path / "src" / "acme_model" / "fit.py"
    fit.write_text(fit.read_text() + "# Edited.\n")
    laptop.commit("An edit")
    said = laptop.inv("sweep", "sweeps/there.yaml", code=2).stderr
    assert "Files of the target that differ: src/acme_model/fit.py" in said
    assert "building the environment" not in laptop.inv("push").stdout
