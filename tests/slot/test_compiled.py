"""Compiled code is kept in the user's cache where Python keeps none, and nowhere else."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sweepfleet.slot import compiled
from sweepfleet.slot.records import Packet
from sweepfleet.slot.runner import Runner
from tests.command import ROOT
from tests.support import context, grid, outcomes_of

TOLD = "import sys; print(sys.pycache_prefix, sys.dont_write_bytecode)"
KEEP = f"from sweepfleet.slot.compiled import keep; keep(); {TOLD}"
WRITES, WRITES_NOT = "None False\n", "None True\n"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the packages are installed, none of them compiled; the user's cache is `tmp_path / "cache"`."""
    package = tmp_path / "site" / compiled.MARKER
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    monkeypatch.setenv("PYTHONPATH", f"{package.parent}{os.pathsep}{ROOT}")
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("PYTHONPYCACHEPREFIX", raising=False)
    return package.parent


def python(code: str, *flags: str) -> str:
    command = [sys.executable, *flags, "-c", code]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "sweepfleet" / "pycache"


def test_a_process_that_may_not_write_beside_the_sources_keeps_compiled_code_in_the_users_cache(
    site: Path, tmp_path: Path
) -> None:
    prefix, writes_not = python(KEEP).split()
    assert writes_not == "False"
    assert Path(prefix).parent == cache(tmp_path)
    assert [stat.S_IMODE(each.stat().st_mode) for each in (Path(prefix), cache(tmp_path))] == [0o700, 0o700]
    python(f"{KEEP}; import {compiled.MARKER}")
    kept = [path.name for path in Path(prefix).rglob("*.pyc") if path.parent.name == compiled.MARKER]
    assert len(kept) == 1
    assert not list(site.rglob("*.pyc"))


def test_it_is_the_same_with_the_flag_and_where_the_sources_folder_is_closed(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE")
    assert python(KEEP, "-B").startswith(str(cache(tmp_path)))
    closed = "import os; os.access = lambda path, mode: False"  # root may write everywhere
    assert python(f"{closed}; {KEEP}").startswith(str(cache(tmp_path)))


def test_where_python_keeps_compiled_code_or_somebody_has_compiled_the_packages_nothing_changes(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE")
    assert python(KEEP) == WRITES
    python(f"import {compiled.MARKER}")
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    assert python(KEEP) == WRITES_NOT
    assert not (tmp_path / "cache").exists()


def test_the_front_door_keeps_it_and_says_where(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = "import sweepfleet.tasks.first as first; from sweepfleet.slot.compiled import where; print(where())"
    assert python(said).startswith(str(cache(tmp_path)))
    _open_to_all(tmp_path / "open")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "open"))
    assert python(said) == "not kept\n"
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE")
    assert python(said) == "beside the sources\n"


@pytest.mark.parametrize(
    "run",
    [
        "import invoke.main; invoke.main.program.run(['inv', 'version'], exit=False)",
        "sys.argv[:] = ['sweepfleet', 'version']; from sweepfleet.cli import main; main()",
    ],
)
def test_invoke_does_not_keep_python_from_compiling(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: str
) -> None:
    """It tells Python to write no compiled files, before it loads the tasks: dask would be compiled each time."""
    said = f"import atexit, sys; atexit.register(lambda: print(sys.pycache_prefix, sys.dont_write_bytecode)); {run}"
    prefix, writes_not = python(said).splitlines()[-1].split()
    assert (Path(prefix).parent, writes_not) == (cache(tmp_path), "False")
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE")
    assert python(said).endswith(f"\n{WRITES}")


def test_a_place_that_the_user_has_named_stays(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPYCACHEPREFIX", str(tmp_path / "named"))
    assert python(KEEP) == f"{tmp_path / 'named'} True\n"


def _open_to_all(folder: Path) -> None:
    folder.mkdir(parents=True)
    folder.chmod(0o777)


def _link(folder: Path) -> None:
    folder.parent.mkdir(parents=True, mode=0o700)
    elsewhere = folder.parent / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    folder.symlink_to(elsewhere)


def _file(folder: Path) -> None:
    folder.parent.mkdir(parents=True, mode=0o700)
    folder.touch(0o700)


@pytest.mark.parametrize("made", [_open_to_all, _link, _file])
def test_a_folder_that_is_not_the_users_alone_is_not_used(
    site: Path, tmp_path: Path, made: Callable[[Path], None]
) -> None:
    (tmp_path / "cache").mkdir(mode=0o700)
    made(cache(tmp_path))
    assert python(KEEP) == WRITES_NOT


def test_a_cache_that_others_may_write_in_is_not_used(site: Path, tmp_path: Path) -> None:
    _open_to_all(tmp_path / "cache")
    assert python(KEEP) == WRITES_NOT
    assert not list((tmp_path / "cache").iterdir())


def test_a_cache_in_whose_place_others_may_put_another_is_not_used(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless the folder above is sticky, as /tmp is."""
    above = tmp_path / "above"
    _open_to_all(above)
    monkeypatch.setenv("XDG_CACHE_HOME", str(above / "cache"))
    (above / "cache").mkdir(mode=0o700)
    assert python(KEEP) == WRITES_NOT
    above.chmod(0o1777)
    assert python(KEEP) != WRITES_NOT


@pytest.mark.parametrize(
    "setting",
    ["os.geteuid = lambda: 4711", "os.statvfs = lambda path: os.statvfs_result((512, 512, *[9] * 6, 0, 255))"],
    ids=["another's", "full"],
)
def test_another_users_folder_and_a_full_disk_are_not_used(site: Path, tmp_path: Path, setting: str) -> None:
    cache(tmp_path).mkdir(parents=True, mode=0o700)
    (tmp_path / "cache").chmod(0o700)
    assert python(f"import os; {setting}; {KEEP}") == WRITES_NOT


@pytest.mark.parametrize("home", ["/nowhere/at/all", "relative", "/proc"])
def test_without_a_home_that_can_be_written_to_python_does_as_it_is_told(
    site: Path, monkeypatch: pytest.MonkeyPatch, home: str
) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", home)
    assert python(KEEP) == WRITES_NOT


def test_environments_have_a_folder_each_and_lose_it_when_they_are_not_used(site: Path, tmp_path: Path) -> None:
    one, other = (
        Path(python(f"import sys; sys.prefix = {name!r}; {KEEP}").split()[0]) for name in ("/one", "/other")
    )
    assert one != other
    long_ago = time.time() - compiled.UNUSED_S - 1
    for each in (one, other):
        (each / "module.pyc").touch()
        os.utime(each, (long_ago, long_ago))
    python(f"import sys; sys.prefix = '/other'; {KEEP}")  # which is a use
    third = Path(python(f"import sys; sys.prefix = '/third'; {KEEP}").split()[0])
    assert set(cache(tmp_path).iterdir()) == {other, third}
    assert (other / "module.pyc").exists()


def test_what_a_point_starts_compiles_as_its_user_said(site: Path, project: Path, tmp_path: Path) -> None:
    """The runner child itself keeps compiled code; programs that it starts and processes that it spawns do not."""
    code = """
        import multiprocessing, os, subprocess, sys

        TOLD = "import sys; print(sys.pycache_prefix, sys.dont_write_bytecode, file=open({!r}, 'w'))"

        def fit(a):
            exec(TOLD.format("own"))
            subprocess.run([sys.executable, "-c", TOLD.format("started")], check=True)
            spawned = multiprocessing.get_context("spawn").Process(target=exec, args=(TOLD.format("spawned"),))
            spawned.start()
            spawned.join()
            return sum("PYCACHE" in name for name in os.environ)
    """
    assert outcome(project, code) == {"value": 0}
    assert (project / "own").read_text().startswith(str(cache(tmp_path)))
    assert (project / "started").read_text() == (project / "spawned").read_text() == WRITES_NOT


@pytest.mark.parametrize("later_s", [0.1, 0])
def test_the_projects_own_files_run_as_they_are_now(
    site: Path, project: Path, tmp_path: Path, later_s: float
) -> None:
    """Python tells files by whole seconds and size, and in images and archives all may have one time."""
    at_s = int(time.time()) - 3600
    for version in (1, 2):
        code = f"V = {version}\n\ndef fit(a):\n    return V\n"
        assert outcome(project, code, at_s=at_s + later_s * version) == {"value": version}
    assert not list(cache(tmp_path).rglob("fit.*.pyc"))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


def outcome(project: Path, code: str, *, at_s: float | None = None) -> object:
    """What the one point of a sweep returns, computed by a child of its own; `at_s` is when the code was written."""
    where = context(project, code, grid({"a": [1]}))
    if at_s is not None:
        os.utime(project / "fit.py", (at_s, at_s))
    runner = Runner(where, name="here/0")
    try:
        ((_, found),) = outcomes_of(Packet.from_bytes(runner.run([(0, 1)])))
    finally:
        runner.close()
    return found
