"""A process is copied after an import where nothing of it would be shared, and a copy is as independent as a new one.

Each test imports a target in a process of its own, looks, and then makes two copies all the same: what they answer
shows the harm that a finding tells of, or that there is none.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from worker import fork_safety
from worker.code import Names
from worker.fork_safety import ImportWatch

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are copied on Linux only")

# As torch has it: one generator of the processor's, seeded by the system when torch is imported.
TORCH = """
import os

class State(list):
    tolist = list.copy

class Generator:
    def seed(self):
        return self.manual_seed(int.from_bytes(os.urandom(6), "little") | 1 << 52)

    def manual_seed(self, seed):
        self.first = self.number = seed
        return seed

    def get_state(self):
        return State(str(self.number).encode())

default_generator = Generator()
default_generator.seed()
manual_seed = default_generator.manual_seed
get_rng_state = default_generator.get_state

def initial_seed():
    return default_generator.first

def rand():
    default_generator.number = default_generator.number * 6364136223846793005 % 2**64
    return default_generator.number
"""
THIRD = random.Random(3).random()
PYTHONS = "a generator of the class random.Random is made, which does not tell whether it has a seed"
NUMPYS = "numbers are drawn from a generator of numpy without a seed"
A_THREAD_OF_C = """
import ctypes
libc, thread = ctypes.CDLL(None), ctypes.c_ulong()
libc.pthread_create(ctypes.byref(thread), None, ctypes.cast(libc.pause, ctypes.c_void_p), None)
libc.pthread_setname_np(thread, b"NAME")
"""
HOME = Path(__file__).parent.parent
LOOK = """
import importlib, json, os, sys, warnings
from worker.code import Names
from worker.fork_safety import ImportWatch, renew
from worker.modules import put_aside

folder, module, expression = sys.argv[1:]
put_aside()
sys.path.insert(0, folder)
watch = ImportWatch(Names(folder=folder, root=folder))
target = importlib.import_module(module)
findings = watch.findings()

def in_a_copy():
    answer, answers = os.pipe()
    warnings.simplefilter("ignore")
    pid = os.fork()
    if pid == 0:
        renew()
        os.write(answers, json.dumps(eval(expression, vars(target))).encode())
        os._exit(0)
    os.close(answers)
    with open(answer) as lines:
        text = lines.read()
    os.waitpid(pid, 0)
    return json.loads(text)

print(json.dumps([findings, [in_a_copy(), in_a_copy()]]))
"""
ANEW = "import json, sys, fit; print(json.dumps(eval(sys.argv[1], vars(fit))))"


class Look(NamedTuple):
    """What was found after an import, and what each of two copies answers."""

    findings: list[str]
    copies: list[Any]


def look(folder: Path, source: str, expression: str = "None", *, threads: int = 1) -> Look:
    """Import `source` in a process of its own, and evaluate `expression` in two copies of it."""
    (folder / "fit.py").write_text(source)
    return look_at(folder, "fit", expression, threads=threads)


def look_at(folder: Path, module: str, expression: str = "None", *, threads: int = 1) -> Look:
    """The same for a module that is there."""
    return Look(*ask(folder, [LOOK, str(folder), module, expression], threads=threads))


def anew(folder: Path, expression: str) -> Any:
    """What a process of its own answers that imports the same target."""
    return ask(folder, [ANEW, expression])


def ask(folder: Path, words: list[str], *, threads: int = 1) -> Any:
    libraries = folder / "site-packages"
    env = {**os.environ, "PYTHONPATH": f"{HOME}:{folder}:{libraries}"}
    env |= {f"{name}_NUM_THREADS": str(threads) for name in ("OMP", "OPENBLAS", "MKL")}
    ended = subprocess.run(
        [sys.executable, "-c", *words], cwd=folder, env=env, stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(ended.stdout.splitlines()[-1])


@pytest.fixture(autouse=True)
def torch(tmp_path: Path) -> None:
    """Something like torch is installed for the targets."""
    (tmp_path / "site-packages").mkdir()
    (tmp_path / "site-packages" / "torch.py").write_text(TORCH)


def library(folder: Path, source: str) -> None:
    """Install a library for the target."""
    (folder / "site-packages" / "installed.py").write_text(source)


@pytest.mark.parametrize(
    ("source", "expression", "copies", "finding"),
    [
        pytest.param(
            "import threading, time\n"
            "loader = threading.Thread(target=time.sleep, args=(60,), daemon=True, name='loader')\n"
            "loader.start()",
            "loader.is_alive()",
            [False, False],
            "threads are running: loader. A copy would be without them",
            id="a thread",
        ),
        pytest.param(
            A_THREAD_OF_C.replace("NAME", "compute-1"),
            "__import__('os').listdir('/proc/self/task').__len__()",
            [1, 1],
            "threads are running: compute-1. A copy would be without them",
            id="a thread of a library",
        ),
        pytest.param(
            A_THREAD_OF_C.rpartition("libc")[0],
            "None",
            [None, None],
            "threads are running: 1 without a name. A copy would be without them",
            id="a thread without a name",
        ),
        pytest.param(
            "data = open(__file__, buffering=0, mode='rb')",
            "data.read(6).decode()",
            ["data =", " open("],
            "files are open: fit.py. Copies would share the place in them, and their locks",
            id="a file",
        ),
        pytest.param(
            "import fcntl\nlock = open('lock', 'w')\nfcntl.flock(lock, fcntl.LOCK_EX)",
            "fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)",
            [None, None],
            "files are open: lock. Copies would share the place in them, and their locks",
            id="a lock on a file",
        ),
        pytest.param(
            "import sqlite3\nbase = sqlite3.connect('runs.db')\nbase.execute('create table a (b)')",
            "base.total_changes",
            [0, 0],
            "files are open: runs.db. Copies would share the place in them, and their locks",
            id="a database",
        ),
        pytest.param(
            "import os\nreads, writes = os.pipe()\nos.write(writes, b'ab')",
            "os.read(reads, 1).decode()",
            ["a", "b"],
            "connections are open: pipe. Copies would share them",
            id="a pipe",
        ),
        pytest.param(
            "import socket\nserver, client = socket.socketpair()\nserver.send(b'ab')",
            "client.recv(1).decode()",
            ["a", "b"],
            "connections are open: socket. Copies would share them",
            id="a socket",
        ),
        pytest.param(
            "import os\nos.dup2(os.open('printed.txt', os.O_WRONLY | os.O_CREAT), 2)\n",
            "os.readlink('/proc/self/fd/2').endswith('printed.txt')",
            [True, True],
            "files are open: printed.txt. Copies would share the place in them, and their locks",
            id="standard error led elsewhere",
        ),
        pytest.param(
            "import mmap\nmemory = mmap.mmap(-1, 4096)",
            "memory.__setitem__(0, memory[0] + 1) or memory[0]",
            [1, 2],
            "memory is shared: nameless. Copies would write into the same",
            id="shared memory",
        ),
        pytest.param(
            "import multiprocessing\nlock = multiprocessing.Lock()",
            "lock.acquire(block=False)",
            [True, False],
            "memory is shared: a lock. Copies would write into the same",
            id="a lock between processes",
        ),
        pytest.param(
            "import signal\nsignal.setitimer(signal.ITIMER_VIRTUAL, 1000)",
            "signal.getitimer(signal.ITIMER_VIRTUAL)[0]",
            [0, 0],
            "a timer is set. A copy would be without it",
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
    assert found[1:] == ["processes are running: cat. A copy would not be their parent"]


def test_a_device_is_found_and_what_every_process_may_open_is_not(tmp_path: Path) -> None:
    """Null, random numbers and terminals are harmless; the other end of a terminal stands for a GPU here."""
    harmless = "files = [open(f'/dev/{name}') for name in ('null', 'zero', 'full', 'random', 'urandom')]\n"
    assert look(tmp_path, harmless).findings == []
    found, _ = look(tmp_path, f"{harmless}import pty\nmaster, terminal = pty.openpty()")
    assert found == ["devices are open: /dev/ptmx. A copy cannot use a GPU that was opened before it was made"]


@pytest.mark.parametrize(
    ("source", "expression", "finding"),
    [
        ("import numpy as np\ndata = np.random.default_rng().random()", "data", None),
        ("import numpy as np\nrng = np.random.default_rng()\ndata = rng.random()", "data", NUMPYS),
        (
            "import numpy as np\nseeds = np.random.SeedSequence()",
            "str(seeds.entropy)",
            "a SeedSequence of numpy is made without a seed",
        ),
        ("import random\nrng = random.Random()", "rng.random()", PYTHONS),
        ("from uuid import uuid4\nname = uuid4().hex", "name", "fit.py:2 makes a UUID"),
        ("import secrets\nname = secrets.token_hex()", "name", "fit.py:2 makes a secret"),
        ("import os\nname = os.urandom(8).hex()", "name", "fit.py:2 draws random bytes"),
        ("import random\nsalt = random.random()", "salt", "numbers are drawn from `random` without a seed"),
        (
            "import random\nx = [random.random() for _ in range(99999)]",
            "x[0]",
            "numbers are drawn from `random` without a seed",
        ),
        ("import numpy as np\ndata = np.random.rand()", "data", NUMPYS),
        ("import torch\nweights = torch.rand()", "weights", "numbers are drawn from `torch` without a seed"),
        ("import other\ndata = other.make()", "data", NUMPYS),
        ("import helper_2\n", "helper_2.data", NUMPYS),
        (
            "import random, time; random.seed(time.time())\ndraw = random.random",
            "draw()",
            "fit.py:1 reads the clock, and a random generator is seeded, perhaps by it",
        ),
        (
            "import time, numpy as np; t = time.time_ns()\nnp.random.seed(t % 2**32)",
            "np.random.rand()",
            "fit.py:1 reads the clock, and a random generator is seeded, perhaps by it",
        ),
        ("import os\nmine = os.getpid()", "mine", "fit.py:2 asks for the process's id"),
        ("import helper\n", "helper.name", "helper.py:3 makes a UUID"),
        ("import os\nclass A:\n    mine = os.getpid()", "A.mine", "fit.py:3 asks for the process's id"),
    ],
)
def test_what_is_drawn_once_and_kept_is_found(
    tmp_path: Path, source: str, expression: str, finding: str | None
) -> None:
    """Copies have the same of it; processes of their own would each have theirs. What nobody keeps tells nothing."""
    (tmp_path / "other.py").write_text("import numpy\ndef make():\n    return numpy.random.rand()\n")
    (tmp_path / "helper_2.py").write_text("import numpy\ndata = numpy.random.rand()\n")
    (tmp_path / "helper.py").write_text("import uuid\ndef make():\n    return uuid.uuid4().hex\nname = make()\n")
    found, (one, other) = look(tmp_path, source, expression)
    assert found == ([f"{finding}. Copies would have the same"] if finding else [])
    assert one == other != anew(tmp_path, expression)


def test_a_temporary_folder_is_found(tmp_path: Path) -> None:
    """The copies would write into one folder, and the first one that ends would take it away."""
    source = "import tempfile\nscratch = tempfile.TemporaryDirectory(dir='.')\n"
    found, (one, other) = look(tmp_path, source, "scratch.name")
    assert one == other
    assert found == ["fit.py:2 makes a temporary file or folder. Copies would have the same"]


def test_what_only_points_do_is_no_finding(tmp_path: Path) -> None:
    """Functions that the import does not call may ask for all of it: each process does then."""
    source = (
        "import os, tempfile, time, uuid, random\ndef fit():\n    with tempfile.TemporaryDirectory() as name:\n"
        "        random.seed(time.time())\n        return [uuid.uuid4().hex, os.getpid(), name]\n"
    )
    found, (one, other) = look(tmp_path, source, "fit()")
    assert found == []
    assert not set(one) & set(other)


@pytest.mark.parametrize(
    "source",
    [
        "import random\ndraw = random.random",
        "from random import random as draw",
        "import numpy as np\ndraw = np.random.rand",
        "import torch\ndraw = torch.rand",
        "import installed\ndraw = installed.numpys.random",
        "import numpy as np\ndraw = np.random.default_rng().random",
        "import numpy as np\ndraw = np.random.RandomState().rand",
        "import installed\ndraw = installed.sampler().random",
        "import random\nrandom.seed(3)\nrandom.seed()\ndraw = random.random",
        "import tempfile as t\nnext(t._get_candidate_names())\ndraw = lambda: next(t._get_candidate_names())",
    ],
)
def test_copies_draw_numbers_of_their_own(tmp_path: Path, source: str) -> None:
    """Where nobody has set a seed, each copy has its own random state: the global ones, and those of libraries."""
    library(
        tmp_path,
        "import numpy, os, uuid\nnumpys = numpy.random.default_rng()\nmine = [os.getpid(), uuid.uuid4()]\n"
        "def sampler():\n    return numpy.random.default_rng()",
    )
    found, (one, other) = look(tmp_path, source, "draw()")
    assert found == []
    assert one != other


@pytest.mark.parametrize(
    "source",
    [
        "import random\nrandom.seed(3)\ndraw = random.random",
        "from random import random as draw, seed\nseed(3)\ndraw()",
        "import random\nrandom.setstate(random.Random(3).getstate())\ndraw = random.random",
        "import random\nrandom.seed(a=3)\nrandom.gauss(0, 1)\ndraw = lambda: random.gauss(0, 1)",
        "import numpy as np\nnp.random.seed(3)\nnp.random.rand()\ndraw = np.random.rand",
        "import numpy as np\nrng = np.random.RandomState(3)\ndraw = rng.rand",
        "import torch\ntorch.manual_seed(2**60 + 3)\ntorch.rand()\ndraw = torch.rand",
        "import numpy as np\nnp.random.RandomState(3)\nrng = np.random.RandomState()\nrng.seed(3)\ndraw = rng.rand",
        "import gc, numpy as np\ngc.set_threshold(1)\ndraw = np.random.RandomState(3).rand",
        "from sklearn.utils import check_random_state\ndraw = check_random_state(3).rand",
        "import numpy as np\nrng = np.random.default_rng(3)\ndraw = rng.random",
        "from installed import *\ndraw = lambda: [seeded.random(), old.rand()]",
    ],
)
def test_a_seed_that_is_set_by_an_import_holds_in_copies(tmp_path: Path, source: str) -> None:
    """The numbers that follow are those of a process of its own that has imported the same."""
    library(
        tmp_path,
        "import numpy\nseeded, old = numpy.random.default_rng(3), numpy.random.RandomState(3)\n"
        "unseeded = numpy.random.default_rng()\n",
    )
    found, (one, other) = look(tmp_path, source, "draw()")
    assert found == []
    assert one == other == anew(tmp_path, "draw()")


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
        "threads are running: one. A copy would be without them"
    ]


def test_data_that_is_mapped_to_be_read_is_no_finding(tmp_path: Path) -> None:
    """Copies read the same pages, which no descriptor holds."""
    source = "import numpy as np\nnp.save('data.npy', np.arange(9))\ndata = np.load('data.npy', mmap_mode='r')"
    assert look(tmp_path, source, "int(data.sum())") == ([], [36, 36])
    found, _ = look(tmp_path, f"{source}\nfile = open('data.npy', 'rb')")
    assert found == ["files are open: data.npy. Copies would share the place in them, and their locks"]
    assert look(tmp_path, source.replace("'r'", "'r+'")).findings == found


@pytest.mark.parametrize("module", ["diabetes.fit", "digits.fit", "montecarlo.estimate"])
def test_the_examples_are_imported_once(module: str) -> None:
    """What the README shows, scikit-learn among it, leaves nothing that speaks against copies."""
    folder, _, name = module.partition(".")
    assert look_at(HOME / "examples" / folder, name).findings == []


@pytest.mark.parametrize(
    ("source", "expression", "answer"),
    [
        ("from time import *\nfrom random import *\nfrom os import *\nt = time()", "t > 0", True),
        ("import time\nclass Timer:\n    clock = time.time\nt = Timer().clock()", "t > 0", True),
        (
            "import random\nclass Dice:\n    seed = random.seed\nDice().seed(3)",
            "random.random()",
            0.23796462709189137,
        ),
        (
            "import time, random\ntime.time = lambda: 42.0\nrandom.seed = abs",
            "[time.time(), random.seed(-2)]",
            [42.0, 2],
        ),
        ("import pickle, random\nkept = random.seed", "pickle.loads(pickle.dumps(kept)).__name__", "seed"),
        ("import random\nkept = random.seed\nkept(3)", "random.random()", THIRD),
        (
            "import pickle, random\nclass A:\n    kept = random.seed",
            "pickle.loads(pickle.dumps(A.kept)).__name__",
            "seed",
        ),
    ],
)
def test_a_target_finds_the_standard_library_as_it_is(
    tmp_path: Path, source: str, expression: str, answer: Any
) -> None:
    """And what it puts into it of its own stays."""
    assert look(tmp_path, source, expression).copies == [answer, answer]


@pytest.mark.parametrize(
    ("source", "finding"),
    [
        ("os._exit(7)", "a copy that was made for a trial was ended by what the import has registered for forks"),
        ("time.sleep(3600)", "a copy that was made for a trial did not end"),
    ],
)
def test_a_copy_that_would_not_go_on_is_found(tmp_path: Path, source: str, finding: str) -> None:
    code = f"import os, time\nos.register_at_fork(after_in_child=lambda: {source})\n"
    (tmp_path / "fit.py").write_text(code)
    script = "import worker.fork_safety\nworker.fork_safety.FORKS_S = 0.5\n" + LOOK.partition("def in_a_copy")[0]
    assert ask(tmp_path, [f"{script}print(json.dumps(findings))", str(tmp_path), "fit", ""]) == [finding]


def test_nothing_is_left_of_the_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Afterwards all is as it was: points pay nothing for it."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "looked_at.py").touch()
    owners = (os, random, random.Random, tempfile, time)
    before = [dict(vars(owner)) for owner in owners]
    watch = ImportWatch(Names(folder=str(tmp_path), root=str(tmp_path)))
    import looked_at  # type: ignore[import-not-found]  # noqa: F401

    watch.findings()
    assert [dict(vars(owner)) for owner in owners] == before


def test_elsewhere_than_on_linux_that_is_the_one_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is looked at there, and nothing replaced."""
    monkeypatch.setattr(fork_safety, "_LINUX", False)
    monkeypatch.setattr(sys, "platform", "darwin")
    before = dict(vars(random))
    watch = ImportWatch()
    assert dict(vars(random)) == before
    assert watch.findings() == ["processes are copied on Linux only, and this is darwin"]
