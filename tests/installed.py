"""The package as others have it: built, and installed in an environment of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from tests.command import ROOT

TEMPLATES = ("infra/", "worker/", "sweeps/", "account/", ".github/", "docs/examples/")


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the files that Git tracks."""
    folder = tmp_path_factory.mktemp("built")
    source = folder / "source"
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, tracked.split("\0")):
        if name.startswith(("src/", *TEMPLATES)) or "/" not in name:
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, source / name)
    subprocess.run([sys.executable, "-c", BUILD, str(folder)], cwd=source, check=True, stdout=subprocess.DEVNULL)
    return next(folder.glob("*.whl"))


PROGRAMS = {
    "sweepfleet": "from sweepfleet.cli import main\nmain()",
    "inv": "from invoke.main import program\nprogram.run()",
}
BUILD = "import sys; from hatchling.build import build_wheel; build_wheel(sys.argv[1])"


@pytest.fixture(scope="session")
def tools(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment that has the wheel, and what it needs from this one."""
    environment = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(environment)}))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    (site / "needed.pth").write_text(f"{sysconfig.get_path('purelib')}\n")  # whose own .pth files do not count then
    for name, text in PROGRAMS.items():
        command = environment / "bin" / name
        command.write_text(f"#!{environment}/bin/python -P\n{text}\n")  # -P: as for what pip writes
        command.chmod(0o755)
    return environment / "bin"
