"""Sessions on the head: what their programs are told, the lock of what they need, and what outlives a push."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from sweepfleet.infra.layout import MachinePaths
from sweepfleet.machine import session
from sweepfleet.machine.environment.build import BuildError
from sweepfleet.machine.environment.jupyter import LOCK, OVERRIDES, SETTINGS, identity
from sweepfleet.machine.environment.requirements import entries
from sweepfleet.machine.facts import Data, Facts, Home
from sweepfleet.machine.head import publish
from sweepfleet.machine.head import session as begun
from sweepfleet.machine.session import KINDS, PORT, Session, SessionFolder, kernel_spec, server_config

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "src/sweepfleet/machine/units"
DATA = Data(Path(MachinePaths().data))


def test_the_lock_of_the_package_is_what_the_project_s_lock_has() -> None:
    """So an upgrade of the one is an upgrade of the other, and nobody edits it by hand."""
    export = next(line for line in (ROOT / LOCK.with_suffix(".py")).read_text().splitlines() if "uv export" in line)
    words = export.partition(": ")[2].split()
    said = subprocess.check_output([*words, "--offline", "--quiet"], cwd=ROOT, text=True)
    assert said == LOCK.read_text(), f"{' '.join(words)} --quiet > {LOCK.relative_to(ROOT)}"


def test_every_package_of_it_has_its_hashes() -> None:
    found = entries(LOCK.read_text())
    assert {"jupyterlab", "jupyter-console", "ipykernel"} <= {one.name for one in found}
    assert all(one.pin and one.hashes for one in found)
    assert identity(LOCK.read_text()) != identity(LOCK.read_text() + "more==1\n")


@pytest.mark.parametrize("kind", KINDS)
def test_a_unit_and_its_folder_mean_the_same_places(kind: str) -> None:
    """A unit file cannot ask Python for them."""
    folder = SessionFolder(DATA.sessions / kind)
    text = (UNITS / folder.unit).read_text()
    assert f"HOME={DATA.sessions_home}" in text
    assert f"RuntimeDirectory={folder.runtime.name}\nRuntimeDirectoryMode=0700" in text
    assert f"WorkingDirectory={DATA.notebooks}" in text
    assert "User=sweepfleet" in text
    assert "OOMScoreAdjust=800\nCPUWeight=20\n" in text, "scheduler and drivers come first"
    assert "Restart=" not in text, "what ends by itself stays ended"
    program = re.search(r"ExecStart=(.*)", text)[1].split()  # type: ignore[index]
    if kind == "console":
        assert program[0] == str(folder.environment / "bin/python")
        assert program[-1] == str(folder.connection)
        assert f"SWEEPFLEET_SESSION={folder.path} " in text
    else:
        assert program[0] == str(folder.jupyter / "bin/python")
        assert program[-1] == f"--config={folder.config}"
        assert f"JUPYTER_TOKEN_FILE={folder.token}" in text
        assert f"JUPYTER_PATH={folder.kernel_spec.parents[2]}\n" in text


def test_a_server_is_on_the_loopback_alone_and_ends_when_it_is_not_used() -> None:
    config = server_config(DATA, idle_s=7200)
    server = config["ServerApp"]
    assert (server["ip"], server["port"], server["port_retries"]) == ("127.0.0.1", PORT, 0)
    assert server["shutdown_no_activity_timeout"] == 7200
    assert config["MappingKernelManager"] == {"cull_idle_timeout": 7200, "cull_interval": 60, "cull_connected": True}
    assert config["KernelManager"]["transport"] == "ipc"
    assert "token" not in json.dumps(config)


def test_jupyters_environment_is_built_once_and_whole(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed build leaves nothing that could pass for it."""
    built: list[Path] = []

    class Uv:
        def __init__(self, **_: Any) -> None:
            pass

        def build_locked(self, lock: str, new: Path) -> None:
            assert lock == LOCK.read_text()
            built.append(new)
            new.mkdir()
            if len(built) == 1:
                raise BuildError("no")

    monkeypatch.setattr(begun, "Builder", Uv)
    monkeypatch.setattr(begun, "secret_for_indexes", lambda _: contextlib.nullcontext())
    facts = Facts("head", "dev", "b", "r", "10.0.0.1", "https://pypi.org/simple", "us-east-1", "", "/srv", "g")
    with pytest.raises(BuildError):
        begun.have_jupyter(facts)
    assert list(home.all_jupyter.iterdir()) == []
    place = begun.have_jupyter(facts)
    assert place == begun.have_jupyter(facts) == home.jupyter(identity(LOCK.read_text()))
    assert len(built) == 2
    assert json.loads((place / OVERRIDES).read_text()) == SETTINGS


def test_a_kernel_is_of_the_releases_environment() -> None:
    folder = SessionFolder(DATA.sessions / "notebook")
    spec = kernel_spec(folder)
    assert spec["argv"][0] == f"{folder.environment}/bin/python"
    assert spec["env"]["PYTHONPATH"] == f"{folder.release}/.sweepfleet/code"


def test_what_a_later_version_has_written_of_a_session_is_ignored() -> None:
    one = Session("console", "a" * 64, 60, 1.5)
    assert Session.from_json(one.to_json()) == one
    assert Session.from_json(json.dumps(json.loads(one.to_json()) | {"more": 1})) == one


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A head with releases and environments, more than are kept."""
    home = Home(tmp_path / "home")
    monkeypatch.setattr(publish, "HOME", home)
    monkeypatch.setattr(begun, "HOME", home)
    monkeypatch.setattr(publish, "lock_of", lambda release: f"lock-{release.name}")
    monkeypatch.setattr(publish.data_files, "prune", lambda _: None)
    for number in range(publish.KEPT + 2):
        for place in (home.release(str(number)), home.environment(f"lock-{number}")):
            place.mkdir(parents=True)
            os.utime(place, (number, number))
    return home


@pytest.mark.parametrize("active", [True, False])
def test_a_push_leaves_a_session_the_code_and_the_environment_that_it_runs_in(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, active: bool
) -> None:
    data = Data(tmp_path / "data")
    folder = SessionFolder(data.sessions / "console")
    folder.path.mkdir(parents=True)
    folder.session.write_text(Session("console", "0", 60, 0).to_json())
    folder.release.symlink_to(home.release("0"))
    folder.environment.symlink_to(home.environment("lock-0"))
    monkeypatch.setattr(session, "is_active", lambda _: active)
    publish.prune(set(), data)
    assert not home.release("1").exists()
    assert home.release("0").exists() == active
    assert home.environment("lock-0").exists() == active


def test_an_environment_of_jupyter_goes_when_no_session_uses_it(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That of an active session stays, though a newer version of this package has another."""
    data = Data(tmp_path / "data")
    for name in ("old", "used", "new"):
        home.jupyter(name).mkdir(parents=True)
    folder = SessionFolder(data.sessions / "notebook")
    folder.path.mkdir(parents=True)
    folder.session.write_text("{}")
    folder.jupyter.symlink_to(home.jupyter("used"))
    monkeypatch.setattr(session, "is_active", lambda _: True)
    begun.prune_jupyter(data, kept=home.jupyter("new"))
    assert {place.name for place in home.all_jupyter.iterdir()} == {"used", "new"}
