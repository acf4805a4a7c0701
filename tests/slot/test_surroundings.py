"""A point leaves the next one what it found, and its helpers may have any name."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from sweepfleet.grid.load import load
from sweepfleet.grid.space import Space
from sweepfleet.grid.sweep import Target
from sweepfleet.run.preview import run_one
from sweepfleet.slot.context import Context
from sweepfleet.slot.modules import aside
from sweepfleet.slot.records import Packet
from sweepfleet.slot.runner import Runner
from sweepfleet.slot.surroundings import Surroundings
from tests.command import Project
from tests.support import context, everything, grid, outcomes_of


def packet_of(wanted: Context) -> Packet:
    """All that a runner makes of a context's points."""
    runner = Runner(wanted, name="host/0")
    try:
        return everything(runner)
    finally:
        runner.close()


def computed(folder: Path, code: str, **limits: Any) -> list[Any]:
    """What three points return, one after the other."""
    packet = packet_of(context(folder, code, grid({"a": range(3)}), **limits))
    return [outcome for _, outcome in outcomes_of(packet)]


SPOILS = {
    "folder": ("os.chdir('/')", "os.getcwd()"),
    "folder by descriptor": ("os.fchdir(os.open('/', os.O_RDONLY))", "os.getcwd()"),
    "folder that is removed": ("d = tempfile.mkdtemp(); os.chdir(d); os.rmdir(d)", "os.getcwd()"),
    "folder, by C": ("ctypes.CDLL(None).chdir(b'/'); time.sleep(0.05)", "os.getcwd()"),
    "umask": ("os.umask(0o077)", "mask()"),
    "handler": ("signal.signal(signal.SIGTERM, signal.SIG_IGN)", "signal.getsignal(signal.SIGTERM)"),
    "handler of SIGCHLD": ("signal.signal(signal.SIGCHLD, print)", "signal.getsignal(signal.SIGCHLD)"),
    "blocked signals": (
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])",
        "sorted(signal.pthread_sigmask(signal.SIG_BLOCK, []))",
    ),
    "timer": (
        "signal.signal(signal.SIGALRM, signal.SIG_IGN); signal.setitimer(signal.ITIMER_REAL, 1000)",
        "signal.getitimer(signal.ITIMER_REAL)[0] == 0",
    ),
    "path": ("sys.path.insert(0, '/somewhere')", "sys.path"),
    "order of the path": ("sys.path.reverse()", "sys.path"),
    "another path": ("sys.path = []", "sys.path"),
    "standard output": ("sys.stdout = io.StringIO()", "type(sys.stdout).__name__"),
    "no standard streams": ("sys.stdin = sys.stdout = sys.stderr = sys.__stdout__ = None", "streams()"),
    "closed standard output": ("sys.stdout.close(); time.sleep(0.05)", "sys.stdout.closed"),
    "closed descriptors": ("os.closerange(0, 3)", "files()"),
    "closed descriptor": ("os.close(1)", "files()"),
    "another file as output": ("os.dup2(os.open('mine.txt', os.O_RDWR | os.O_CREAT), 1)", "files()"),
    "output that does not block": ("os.set_blocking(1, False)", "os.get_blocking(1)"),
    "error that does not block": (
        "fcntl.fcntl(2, fcntl.F_SETFL, os.O_NONBLOCK | fcntl.fcntl(2, fcntl.F_GETFL))",
        "os.get_blocking(2)",
    ),
}
SPOILING = """\
import ctypes, fcntl, io, os, signal, sys, tempfile, time

def mask():
    now = os.umask(0)
    os.umask(now)
    return now

def streams():
    return [getattr(sys, name) is not None for name in ("stdin", "stdout", "stderr", "__stdout__")]

def files():
    return [(os.fstat(fd).st_dev, os.fstat(fd).st_ino) for fd in range(3)]

def fit(a):
    seen = repr({see})
    if a == 1:
        {spoil}
    return {{"seen": seen}}
"""


@pytest.mark.parametrize("what", SPOILS)
def test_a_point_leaves_the_next_one_what_it_found(tmp_path: Path, what: str) -> None:
    spoil, see = SPOILS[what]
    first, second, third = computed(tmp_path, SPOILING.format(spoil=spoil, see=see))
    assert first == second, "nothing is spoilt yet"
    assert third == first


def test_once_c_code_has_changed_the_folder_every_short_point_finds_it_as_it_was(tmp_path: Path) -> None:
    """C code tells nobody: after short points the folder is looked at now and then, after a find always."""
    code = """\
        import ctypes, os, time
        def fit(a):
            seen = os.getcwd()
            ctypes.CDLL(None).chdir(b"/")
            time.sleep(0.005)
            return {"seen": seen}
        """
    packet = packet_of(context(tmp_path, code, grid({"a": range(60)})))
    seen = [outcome["seen"] for _, outcome in outcomes_of(packet)]
    assert set(seen[-30:]) == {str(tmp_path)}
    assert len(seen) == 60


def test_what_a_crash_writes_is_kept_though_a_point_has_taken_its_handlers(tmp_path: Path) -> None:
    """The place of a later timeout is told: the handler that writes it is C's, and is put back."""
    code = """\
        import signal, time
        def fit(a):
            if a == 0: signal.signal(signal.SIGUSR1, signal.SIG_IGN)
            if a == 1: time.sleep(3600)
            return a
        """
    _, (error_type, error), _ = computed(tmp_path, code, timeout_s=0.5)
    assert error_type == "Timeout"
    assert 'fit.py", line 4 in fit' in error


def test_what_the_target_changes_while_it_is_imported_is_what_every_point_finds(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    code = "import os\nos.chdir('data')\ndef fit(a):\n    os.chdir('/') if a < 0 else None\n    return os.getcwd()\n"
    seen = computed(tmp_path, code.replace("return os.getcwd()", "return {'at': os.getcwd()}"))
    assert seen == [{"at": str(tmp_path / "data")}] * 3


def test_a_point_that_removes_the_folder_it_started_in_harms_no_other(tmp_path: Path) -> None:
    """Only its own files are gone: there is nothing to go back to, and the points are computed all the same."""
    code = "import shutil, os\ndef fit(a):\n    if a == 1: shutil.rmtree(os.getcwd())\n    return a\n"
    assert computed(tmp_path, code) == [{"value": 0}, {"value": 1}, {"value": 2}]


def test_functions_start_in_the_grids_folder_and_are_told_the_projects(tmp_path: Path) -> None:
    code = "import os\ndef fit(a, project_dir):\n    return {'at': os.getcwd(), 'project': str(project_dir / 'x')}\n"
    expected = {"at": str(tmp_path), "project": str(tmp_path / "x")}
    assert computed(tmp_path, code) == [expected] * 3


@pytest.fixture
def noting() -> Iterator[Surroundings]:
    surroundings = Surroundings()
    yield surroundings
    surroundings.close()


def test_a_function_that_is_watched_is_used_as_before(noting: Surroundings, tmp_path: Path) -> None:
    """By classes, by pickle, by those who ask what it supports; and it is itself again at the end."""

    class Keeper:
        shut = os.close

    Keeper().shut(os.open(tmp_path, os.O_RDONLY))
    assert pickle.loads(pickle.dumps(os.close)) is os.close  # noqa: S301 - our own
    assert os.chdir in os.supports_fd
    assert signal.signal.__name__ == "signal"
    with pytest.raises(FileNotFoundError):
        os.chdir("/no/such/folder")
    noting.close()
    assert type(os.chdir).__name__ == "builtin_function_or_method"
    assert os.chdir in os.supports_fd


HELPERS = ("grid", "worker", "sweep", "fleet", "tasks", "infra", "pipeline", "bootstrap")
HELPED = """\
import multiprocessing
from {name} import build

def double(x):
    from {name} import build
    return 2 * build(x)

def fit(x):
    if x < 2:
        return {{"y": build(x)}}
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return {{"y": pool.map(double, [x])[0]}}
"""


@pytest.mark.parametrize("name", HELPERS)
def test_a_helper_may_have_the_name_of_a_package_of_ours(tmp_path: Path, name: str) -> None:
    """The one beside the target is found: in the child, in what it spawns, and in `--test-point`, which puts back."""
    (tmp_path / f"{name}.py").write_text("def build(x): return x * 10\n")
    (tmp_path / "grid.yaml").write_text("run: fit:fit\nparameters: {x: [1, 2]}\n")
    wanted = context(tmp_path, HELPED.format(name=name), grid({"x": [1, 2]}))
    packet = packet_of(wanted)
    assert [outcome for _, outcome in outcomes_of(packet)] == [{"y": 10}, {"y": 40}]
    ours = {key: module for key, module in sys.modules.items() if key.partition(".")[0] in HELPERS}
    said = list(run_one(load(tmp_path / "grid.yaml"), wanted, index=1))
    assert '"y": 40' in said[-1]
    assert {key: sys.modules[key] for key in ours} == ours
    del sys.modules["fit"]


def test_a_target_may_have_the_name_of_a_package_of_ours(tmp_path: Path) -> None:
    (tmp_path / "worker.py").write_text("def fit(a): return a + 0.5\n")
    wanted = context(tmp_path, "", grid({"a": [1]}), target=Target(run="worker:fit"))
    assert outcomes_of(packet_of(wanted)) == [(0, {"value": 1.5})]


def test_what_a_helpers_error_says_is_kept_whatever_the_helpers_name(tmp_path: Path) -> None:
    """Our own frames are left out of a traceback by where they are, not by what their package is called."""
    (tmp_path / "worker").mkdir()
    (tmp_path / "worker" / "deep.py").write_text("def fit(a):\n    raise ValueError('mine')\n")
    wanted = context(tmp_path, "", grid({"a": [1]}), target=Target(run="worker.deep:fit"))
    (tmp_path / "worker" / "__init__.py").write_text("")
    ((_, (_, error)),) = outcomes_of(packet_of(wanted))
    assert "deep.py" in error
    assert "raise ValueError('mine')" in error


def test_the_commands_modules_come_back_when_a_target_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """invoke has loaded a project's tasks.py as `tasks`, and a target may have a helper of that name."""
    main, tasks, theirs = sys.modules["__main__"], ModuleType("tasks"), ModuleType("tasks")
    monkeypatch.setitem(sys.modules, "tasks", tasks)
    with contextlib.suppress(KeyError), aside():
        assert "tasks" not in sys.modules
        assert sys.modules["__main__"] is not main
        sys.modules["tasks"] = theirs
        raise KeyError
    assert (sys.modules["__main__"], sys.modules["tasks"]) == (main, tasks)


def test_points_that_change_folder_are_all_done(tmp_path: Path) -> None:
    """A solver in a temporary folder of its own, which is gone when its point ends."""
    code = (
        "import os, tempfile\ndef fit(x):\n    start = os.path.abspath('settings.ini')\n"
        "    with tempfile.TemporaryDirectory() as scratch:\n        os.chdir(scratch)\n    return {'x2': x * 2}\n"
    )
    project = Project(tmp_path).write("name: cwd\nrun: fit:fit\nparameters: {x: {range: [0, 20]}}\n", code)
    project.sweep()
    assert sorted(project.table("cwd")["metric.x2"]) == [2 * x for x in range(20)]


def test_a_space_of_points_is_no_part_of_what_is_put_aside(tmp_path: Path) -> None:
    """Points are made by our own modules after the user's were imported, in all ways that a grid has."""
    (tmp_path / "grid.py").write_text("build = float\n")
    (tmp_path / "fit.py").write_text("from grid import build\ndef fit(a, b): return build(a)\n")
    (tmp_path / "grid.yaml").write_text(
        "run: fit:fit\nmethod: sobol\nsamples: 4\n"
        "parameters: {a: {distribution: normal}, b: {distribution: beta, a: 2, b: 3}}\nwhere: ['b < 2']\n"
    )
    sweep = load(tmp_path / "grid.yaml")
    wanted = context(tmp_path, (tmp_path / "fit.py").read_text(), sweep.plan)
    assert [outcome["value"] for _, outcome in outcomes_of(packet_of(wanted))] == [
        point.params["a"] for point in Space(sweep.plan).points(0, 4)
    ]


def test_a_helper_with_a_name_of_ours_in_the_current_folder_misleads_no_command(tmp_path: Path) -> None:
    """`python -m invoke` looks there first."""
    for name in ("grid", "sweep", "worker"):
        (tmp_path / f"{name}.py").write_text("def build(x): return x * 10\n")
    project = Project(tmp_path).write("name: shadow\nrun: fit:fit\nparameters: {x: [1, 2]}\n")
    (tmp_path / "fit.py").write_text("from grid import build\ndef fit(x): return build(x)\n")
    project.sweep()
    assert sorted(project.table("shadow")["metric.value"]) == [10, 20]
    assert '{"value": 20}' in project.sweep("--test-point", "1").stdout
