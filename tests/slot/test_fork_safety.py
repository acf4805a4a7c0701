"""A process is copied after an import where nothing of it would be shared, and a copy is as independent as a new one.

Each test imports a target in a process of its own, looks, and then makes two copies all the same: what they answer
shows the harm that a finding tells of, or that there is none.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any

import pytest

from sweepfleet.slot import fork_safety
from sweepfleet.slot.fork_safety import ImportWatch
from tests.looking import HOME, LOOK, ask, look, look_at

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are copied on Linux only")

A_THREAD_OF_C = """
import ctypes
libc, thread = ctypes.CDLL(None), ctypes.c_ulong()
libc.pthread_create(ctypes.byref(thread), None, ctypes.cast(libc.pause, ctypes.c_void_p), None)
libc.pthread_setname_np(thread, b"NAME")
"""


@pytest.mark.parametrize(
    ("source", "expression", "copies", "finding"),
    [
        pytest.param(
            "import threading, time\n"
            "loader = threading.Thread(target=time.sleep, args=(60,), daemon=True, name='loader')\n"
            "loader.start()",
            "loader.is_alive()",
            [False, False],
            "threads are running: loader. A fork would not have them",
            id="a thread",
        ),
        pytest.param(
            A_THREAD_OF_C.replace("NAME", "compute-1"),
            "__import__('os').listdir('/proc/self/task').__len__()",
            [1, 1],
            "threads are running: compute-1. A fork would not have them",
            id="a thread of a library",
        ),
        pytest.param(
            A_THREAD_OF_C.rpartition("libc")[0],
            "None",
            [None, None],
            "threads are running: 1 without a name. A fork would not have them",
            id="a thread without a name",
        ),
        pytest.param(
            "data = open(__file__, buffering=0, mode='rb')",
            "data.read(6).decode()",
            ["data =", " open("],
            "files are open: fit.py. Forks would share their positions and locks",
            id="a file",
        ),
        pytest.param(
            "import fcntl\nlock = open('lock', 'w')\nfcntl.flock(lock, fcntl.LOCK_EX)",
            "fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)",
            [None, None],
            "files are open: lock. Forks would share their positions and locks",
            id="a lock on a file",
        ),
        pytest.param(
            "import sqlite3\nbase = sqlite3.connect('runs.db')\nbase.execute('create table a (b)')",
            "base.total_changes",
            [0, 0],
            "files are open: runs.db. Forks would share their positions and locks",
            id="a database",
        ),
        pytest.param(
            "import os\nreads, writes = os.pipe()\nos.write(writes, b'ab')",
            "os.read(reads, 1).decode()",
            ["a", "b"],
            "connections are open: pipe. Forks would share them",
            id="a pipe",
        ),
        pytest.param(
            "import socket\nserver, client = socket.socketpair()\nserver.send(b'ab')",
            "client.recv(1).decode()",
            ["a", "b"],
            "connections are open: socket. Forks would share them",
            id="a socket",
        ),
        pytest.param(
            "import os\nos.dup2(os.open('printed.txt', os.O_WRONLY | os.O_CREAT), 2)\n",
            "os.readlink('/proc/self/fd/2').endswith('printed.txt')",
            [True, True],
            "files are open: printed.txt. Forks would share their positions and locks",
            id="standard error led elsewhere",
        ),
        pytest.param(
            "import mmap\nmemory = mmap.mmap(-1, 4096)",
            "memory.__setitem__(0, memory[0] + 1) or memory[0]",
            [1, 2],
            "memory is shared: nameless. Forks would write into the same memory",
            id="shared memory",
        ),
        pytest.param(
            "import multiprocessing\nlock = multiprocessing.Lock()",
            "lock.acquire(block=False)",
            [True, False],
            "memory is shared: a lock. Forks would write into the same memory",
            id="a lock between processes",
        ),
        pytest.param(
            "import signal\nsignal.setitimer(signal.ITIMER_VIRTUAL, 1000)",
            "signal.getitimer(signal.ITIMER_VIRTUAL)[0]",
            [0, 0],
            "a timer is set. A fork would not have it",
            id="a timer",
        ),
    ],
)
def test_what_a_copy_would_share_or_lack_is_found(
    tmp_path: Path, source: str, expression: str, copies: list[Any], finding: str
) -> None:
    """The kernel's side of a process: each finding is there, alone, and the copies behave as it says."""
    assert look(tmp_path, source, expression) == ([finding], copies)


def test_what_was_there_before_is_no_finding(tmp_path: Path) -> None:
    """The process itself shares memory with its owner, and holds pipes."""
    (tmp_path / "fit.py").touch()
    before = "import mmap, os, subprocess\nmemory, pipe = mmap.mmap(-1, 4096), os.pipe()\n"
    before += "helper = subprocess.Popen(['cat'], stdin=subprocess.PIPE)\n"
    script = LOOK.partition("def in_a_copy")[0] + "print(json.dumps(findings))"
    assert ask(tmp_path, [f"{before}{script}", str(tmp_path), "fit", ""]) == []


def test_processes_that_an_import_leaves_running_are_found(tmp_path: Path) -> None:
    """A helper process would serve all copies at once; one that has ended, waited for or not, is none."""
    source = (
        "import subprocess\nsubprocess.run(['true'])\nended = subprocess.Popen(['true'])\n"
        "import os\nos.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)\n"
    )
    assert look(tmp_path, source).findings == []
    helper = "reads, writes = os.pipe()\nhelper = subprocess.Popen(['cat', '-'], stdin=reads)"
    found, _ = look(tmp_path, f"{source}{helper}")
    assert found[1:] == ["processes are running: cat. A fork would not be their parent"]


def test_a_device_is_found_and_what_every_process_may_open_is_not(tmp_path: Path) -> None:
    """Null, random numbers and terminals are harmless; the other end of a terminal stands for a GPU here."""
    harmless = "files = [open(f'/dev/{name}') for name in ('null', 'zero', 'full', 'random', 'urandom')]\n"
    assert look(tmp_path, harmless).findings == []
    found, _ = look(tmp_path, f"{harmless}import pty\nmaster, terminal = pty.openpty()")
    assert found == ["devices are open: /dev/ptmx. A fork cannot use a GPU that was opened before it"]


def test_threads_that_end_before_a_fork_do_not_count(tmp_path: Path) -> None:
    """OpenBLAS starts three when numpy is imported, and ends them for a fork; copies start their own and compute."""
    source = "import os, numpy as np\nstarted = len(os.listdir('/proc/self/task'))\ndata = np.ones((300, 300))"
    found, copies = look(tmp_path, source, "[started, float((data @ data).sum())]", threads=4)
    assert found == []
    started = copies[0][0]
    assert copies == [[started, 300.0**3]] * 2
    if started == 1:
        pytest.skip("this numpy starts no threads when it is imported")


def test_threads_that_know_of_forks_do_not_count(tmp_path: Path) -> None:
    """jemalloc's gives memory back; jemalloc itself sees to it that a copy does without."""
    assert look(tmp_path, A_THREAD_OF_C.replace("NAME", "jemalloc_bg_thd")).findings == []


def test_a_target_that_ignores_the_end_of_its_children_is_looked_at_all_the_same(tmp_path: Path) -> None:
    """The trial copy is then nobody's to wait for."""
    source = f"import signal\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)\n{A_THREAD_OF_C.replace('NAME', 'one')}"
    (tmp_path / "fit.py").write_text(source)
    script = LOOK.partition("def in_a_copy")[0] + "print(json.dumps(findings))"
    assert ask(tmp_path, [script, str(tmp_path), "fit", ""]) == [
        "threads are running: one. A fork would not have them"
    ]


def test_data_that_is_mapped_to_be_read_is_no_finding(tmp_path: Path) -> None:
    """Copies read the same pages, which no descriptor holds."""
    source = "import numpy as np\nnp.save('data.npy', np.arange(9))\ndata = np.load('data.npy', mmap_mode='r')"
    assert look(tmp_path, source, "int(data.sum())") == ([], [36, 36])
    found, _ = look(tmp_path, f"{source}\nfile = open('data.npy', 'rb')")
    assert found == ["files are open: data.npy. Forks would share their positions and locks"]
    assert look(tmp_path, source.replace("'r'", "'r+'")).findings == found


@pytest.mark.parametrize("module", ["diabetes.fit", "digits.fit", "montecarlo.estimate"])
def test_the_examples_are_imported_once(module: str) -> None:
    """What the README shows, scikit-learn among it, leaves nothing that speaks against copies."""
    folder, _, name = module.partition(".")
    assert look_at(HOME / "examples" / folder, name).findings == []


@pytest.mark.parametrize(
    ("source", "finding"),
    [
        ("os._exit(7)", "a trial fork ended early, by something that the import registered for forks"),
        ("time.sleep(3600)", "a trial fork did not end"),
    ],
)
def test_a_copy_that_would_not_go_on_is_found(tmp_path: Path, source: str, finding: str) -> None:
    code = f"import os, time\nos.register_at_fork(after_in_child=lambda: {source})\n"
    (tmp_path / "fit.py").write_text(code)
    script = (
        "import sweepfleet.slot.fork_safety\nsweepfleet.slot.fork_safety.FORKS_S = 0.5\n"
        + LOOK.partition("def in_a_copy")[0]
    )
    assert ask(tmp_path, [f"{script}print(json.dumps(findings))", str(tmp_path), "fit", ""]) == [finding]


def test_elsewhere_than_on_linux_that_is_the_one_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is looked at there, and nothing replaced."""
    monkeypatch.setattr(fork_safety, "_LINUX", False)
    monkeypatch.setattr(sys, "platform", "darwin")
    before = dict(vars(random))
    watch = ImportWatch()
    assert dict(vars(random)) == before
    assert watch.findings() == ["processes are forked on Linux only, and this is darwin"]
