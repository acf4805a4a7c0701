"""Where children come from: one import and many copies, with real processes; each as good as one of its own."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from sweepfleet.grid.errors import UsageError
from sweepfleet.slot.context import Context
from sweepfleet.slot.pool import Pool
from sweepfleet.slot.process import Child
from sweepfleet.slot.records import Packet, drop
from sweepfleet.slot.source import RunnerClosedError
from tests.support import context, eventually, gone, grid, outcomes_of

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="copies are made on Linux alone")

# Each process that imports it leaves a mark of its own: by a name that asks for nothing copies would share.
MARK = "pathlib.Path('imported-' + pathlib.Path('/proc/self/stat').read_text().split()[0]).touch()\n"
HOLDS_A_FILE = "HELD = open(__file__)\n"


@pytest.fixture
def pools() -> Iterator[Callable[..., Pool]]:
    """Start pools; none is left when the test ends."""
    started: list[Pool] = []

    def starting(wanted: Context, *, slots: int = 2, **rest: Any) -> Pool:
        started.append(Pool(wanted, slots=slots, name="host", **rest))
        return started[-1]

    yield starting
    for each in started:
        each.close()


def imports(folder: Path) -> int:
    return len(list(folder.glob("imported-*")))


def run(pool: Pool, *spans: tuple[int, int]) -> dict[int, Any]:
    """What comes of the points, by index."""
    found: dict[int, Any] = {}
    rest = list(spans)
    while rest:
        packet = Packet.from_bytes(pool.run(rest))
        found |= dict(outcomes_of(packet))
        rest = drop(rest, packet.attempts)
    return found


def on_each(pool: Pool, count: int) -> list[dict[int, Any]]:
    """What comes of one point on each slot, at the same time."""
    found: list[dict[int, Any]] = []
    threads = [threading.Thread(target=lambda n=n: found.append(run(pool, (n, n + 1)))) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    return found


def meeting(count: int, returned: str) -> str:
    """A function whose points wait for each other: each runs on a slot of its own."""
    return (
        "import time, pathlib\n"
        "def fit(a):\n    pathlib.Path(f'here-{a}').touch()\n"
        f"    while len(list(pathlib.Path().glob('here-*'))) < {count}:\n        time.sleep(0.01)\n"
        f"    return {returned}\n"
    )


@pytest.mark.parametrize(
    ("start", "code", "how", "times"),
    [
        ("auto", "", "fork", 1),
        ("fork", HOLDS_A_FILE, "fork", 1),
        ("spawn", "", "spawn", 3),
        ("auto", HOLDS_A_FILE, "spawn", 3),
    ],
)
def test_the_target_is_imported_once_where_that_is_safe(
    tmp_path: Path, pools: Any, start: str, code: str, how: str, times: int
) -> None:
    """Three slots: one import and three copies, or three imports, the first process's among them."""
    wanted = context(tmp_path, "import os, seen\n" + code + meeting(3, "os.getpid()"), start=start)
    (tmp_path / "seen.py").write_text("import pathlib, sys\n" + MARK)
    pool = pools(wanted, slots=3)
    pool.ready()
    eventually(lambda: pool.idle, "all three slots")
    assert imports(tmp_path) == times
    assert pool.start.how == how
    assert bool(pool.start.against) == (start != "spawn" and code == HOLDS_A_FILE)
    values = [value["value"] for found in on_each(pool, 3) for value in found.values()]
    assert len(set(values)) == 3
    assert imports(tmp_path) == times


def test_what_spoke_against_copies_is_told(tmp_path: Path, pools: Any) -> None:
    pool = pools(context(tmp_path, HOLDS_A_FILE + "def fit(a): return a\n"))
    pool.ready()
    assert pool.start.how == "spawn"
    (reason,) = pool.start.against
    assert "files are open" in reason
    assert "fit.py" in reason


ENDINGS = {
    "it exits": ("os._exit(3)", "ProcessExit"),
    "it crashes": ("os.abort()", "Crash"),
    "a timeout": ("time.sleep(3600)", "Timeout"),
    "too much memory": ("x = b'x' * 700_000_000; time.sleep(3600)", "MemoryLimit"),
    "killed from outside": ("os.kill(os.getpid(), signal.SIGKILL)", "ProcessLost"),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_child_starts_again_without_another_import(tmp_path: Path, pools: Any, ending: str) -> None:
    """And without what the child before it had in its memory."""
    end, error_type = ENDINGS[ending]
    (tmp_path / "seen.py").write_text("import pathlib\n" + MARK)
    code = f"""\
        import os, signal, time, seen
        COUNT = 0
        def fit(a):
            global COUNT
            COUNT += 1
            if a == 2:
                {end}
            return COUNT
        """
    limits = {"timeout_s": 2.0 if ending == "a timeout" else 60.0, "memory_bytes": 500_000_000, "infra_retries": 0}
    pool = pools(context(tmp_path, code, grid({"a": range(5)}), **limits), slots=1)
    found = run(pool, (0, 5))
    assert [found[index] for index in (0, 1, 3, 4)] == [{"value": count} for count in (1, 2, 1, 2)]
    assert found[2][0] == error_type
    assert imports(tmp_path) == 1


def test_copies_print_and_are_told_apart(tmp_path: Path, pools: Any) -> None:
    """Each has a pipe of its own; what the import printed is nobody's, and stands there once."""
    code = "print('imported')\n" + meeting(2, "print('point', a) or a")
    pool = pools(context(tmp_path, code, grid({"a": range(2)})))
    texts: list[dict[str, bytes]] = []

    def one(index: int) -> None:
        texts.append(Packet.from_bytes(pool.run([(index, index + 1)])).outputs)

    threads = [threading.Thread(target=one, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    printed = sorted(text for each in texts for text in each.values())
    assert [text.endswith(f"point {number}\n".encode()) for number, text in enumerate(printed)] == [True, True]
    assert not any(b"imported" in text for text in printed)


RANDOM = "import random, numpy as np\n" + meeting(2, "{'py': random.random(), 'np': np.random.rand()}")


@pytest.mark.parametrize("start", ["fork", "spawn"])
@pytest.mark.parametrize(("at_import", "same"), [("", False), ("random.seed(1)\nnp.random.seed(1)\n", True)])
def test_copies_draw_what_processes_of_their_own_would(
    tmp_path: Path, pools: Any, start: str, at_import: str, *, same: bool
) -> None:
    """Numbers of their own each, or those of the seed that the module sets."""
    pool = pools(context(tmp_path, RANDOM + at_import, grid({"a": range(2)}), start=start))
    one, other = [value for found in on_each(pool, 2) for value in found.values()]
    assert (one["py"] == other["py"]) is same
    assert (one["np"] == other["np"]) is same


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("raise ValueError('no')", "ValueError: no"),
        ("import nothing_of_the_kind", "nothing_of_the_kind"),
        ("import os\nos._exit(4)", "ended with exit code 4"),
        ("import os\nos.abort()", "was killed by SIGABRT"),
    ],
)
@pytest.mark.parametrize("start", ["auto", "fork", "spawn"])
def test_a_target_that_cannot_be_imported_is_refused_on_every_slot(
    tmp_path: Path, pools: Any, start: str, code: str, said: str
) -> None:
    pool = pools(context(tmp_path, code + "\ndef fit(a): return a\n", start=start), slots=3)
    for _ in range(2):
        with pytest.raises(UsageError, match=said):
            pool.ready()
    with pytest.raises(UsageError, match=said):
        pool.run([(0, 1)])


def below(process: psutil.Process) -> list[psutil.Process]:
    return [each for each in process.children(recursive=True) if "sweepfleet.slot.child" in " ".join(each.cmdline())]


@pytest.mark.parametrize("when", ["importing", "computing"])
def test_all_end_when_their_owner_is_killed(tmp_path: Path, when: str) -> None:
    """Template, copies and what points have started: SIGKILL of the owner leaves none of them."""
    wait = "import time, pathlib\npathlib.Path('begun').touch()\ntime.sleep(3600)\n" if when == "importing" else ""
    code = wait + (
        "import os, pathlib, subprocess, time\ndef fit(a):\n"
        "    subprocess.Popen(['sleep', '3600'], start_new_session=True)\n"
        "    pathlib.Path('begun').touch()\n    time.sleep(3600)\n"
    )
    wanted = context(tmp_path, code)
    script = (
        "import sys\nfrom sweepfleet.slot.context import Context\nfrom sweepfleet.slot.pool import Pool\n"
        "pool = Pool(Context.from_json(sys.stdin.readline()), slots=2, name='x')\n"
        "pool.ready()\npool.run([(0, 1)])\n"
    )
    owner = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, text=True)
    try:
        owner.stdin.write(wanted.to_json() + "\n")
        owner.stdin.flush()
        eventually((tmp_path / "begun").exists, "the import, or the point")
        tree = psutil.Process(owner.pid).children(recursive=True)
        # A supervisor and the template; two more of both kinds for the copies, and what the point has started.
        assert len(tree) == (2 if when == "importing" else 2 + 4 + 1)
    finally:
        owner.kill()
        owner.communicate()
    for process in tree:
        eventually(lambda process=process: gone(process.pid), f"the end of {process}")


def test_a_template_that_is_killed_is_begun_again(
    tmp_path: Path, pools: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its copies end with it: the point that ran is computed once more, and none is counted twice.

    Also when the kernel killed it for memory: that says nothing of the points.
    """
    monkeypatch.setattr("sweepfleet.slot.life.oom_kills", itertools.count().__next__)
    (tmp_path / "seen.py").write_text("import pathlib\n" + MARK)
    code = """\
        import pathlib, seen, time
        def fit(a):
            if a == 1 and not pathlib.Path('begun').exists():
                pathlib.Path('begun').touch()
                time.sleep(3600)
            return a
        """
    pool = pools(context(tmp_path, code, grid({"a": range(4)})), slots=1)
    found: dict[int, Any] = {}
    thread = threading.Thread(target=lambda: found.update(run(pool, (0, 4))))
    thread.start()
    eventually((tmp_path / "begun").exists, "the second point")
    os.kill(pool._source._first.pid, signal.SIGKILL)
    thread.join(timeout=120)
    assert found == {index: {"value": index} for index in range(4)}
    assert imports(tmp_path) == 2


def test_a_template_that_is_killed_while_it_imports_is_begun_again(tmp_path: Path, pools: Any) -> None:
    (tmp_path / "seen.py").write_text(
        "import pathlib, time\n" + MARK + "while not pathlib.Path('killed').exists():\n    time.sleep(0.01)\n"
    )
    pool = pools(context(tmp_path, "import seen\ndef fit(a): return a\n", grid({"a": range(2)})))
    eventually(lambda: imports(tmp_path) == 1, "the first import")
    os.kill(pool._source._first.pid, signal.SIGKILL)
    eventually(lambda: imports(tmp_path) == 2, "the second import")
    (tmp_path / "killed").touch()
    assert run(pool, (0, 2)) == {0: {"value": 0}, 1: {"value": 1}}


def test_the_first_slot_waits_for_no_other_where_each_has_to_import(tmp_path: Path, pools: Any) -> None:
    """What cannot be copied computes while the others still import."""
    (tmp_path / "seen.py").write_text(
        "import pathlib, time\n" + MARK + "while len(list(pathlib.Path().glob('imported-*'))) > 1 "
        "and not pathlib.Path('go').exists():\n    time.sleep(0.01)\n"
    )
    code = "import seen\n" + HOLDS_A_FILE + "def fit(a): return a\n"
    pool = pools(context(tmp_path, code, grid({"a": range(2)})), slots=3)
    pool.ready()
    assert run(pool, (0, 2)) == {0: {"value": 0}, 1: {"value": 1}}
    assert not pool.idle
    (tmp_path / "go").touch()
    eventually(lambda: pool.idle, "the other slots")


def test_where_no_copy_can_be_started_it_is_told_and_nothing_is_left(tmp_path: Path, pools: Any) -> None:
    """As by a system that has no room for another process."""
    before = set(psutil.Process().children(recursive=True))
    code = """\
        import os
        room, fork = [1], os.fork  # for the trial alone
        def full():
            if not room:
                raise BlockingIOError(11, "no room")
            room.pop()
            return fork()
        os.fork = full
        def fit(a): return a
        """
    pool = pools(context(tmp_path, code), slots=3)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="no more processes can be started"):
            pool.ready()
    pool.close()
    assert set(psutil.Process().children(recursive=True)) <= before


def test_a_child_is_closed_twice_without_harm() -> None:
    """Its descriptors may be others' by then."""
    child = Child()
    child.close()
    files = [os.open(os.devnull, os.O_RDONLY) for _ in range(20)]
    child.close()
    for file in files:
        os.close(file)


@pytest.mark.parametrize("start", ["auto", "spawn"])
def test_closing_a_pool_ends_it_while_it_imports(tmp_path: Path, start: str) -> None:
    """Whoever waits for it is told; nothing is left."""
    before = set(psutil.Process().children(recursive=True))
    code = "import pathlib, time\npathlib.Path('begun').touch()\ntime.sleep(3600)\ndef fit(a): return a\n"
    pool = Pool(context(tmp_path, code, start=start), slots=2, name="host")
    eventually((tmp_path / "begun").exists, "the import")
    raised: list[BaseException] = []

    def waiting() -> None:
        try:
            pool.ready()
        except RunnerClosedError as error:
            raised.append(error)

    thread = threading.Thread(target=waiting)
    thread.start()
    pool.close()
    thread.join(timeout=120)
    assert len(raised) == 1
    assert set(psutil.Process().children(recursive=True)) <= before


@pytest.mark.parametrize("cpus", [1, 2])
def test_a_process_that_was_started_early_is_used_or_ended(tmp_path: Path, pools: Any, cpus: int) -> None:
    """It was started for points of one core: what needs more has another environment."""
    blank = Child()
    pid = blank.pid
    code = "import os\ndef fit(a): return {'threads': int(os.environ['OMP_NUM_THREADS'])}\n"
    pool = pools(context(tmp_path, code, grid({"a": [0]}), cpus=cpus), slots=1, blank=blank)
    assert run(pool, (0, 1)) == {0: {"threads": cpus}}
    assert (pool._source._first.pid == pid) is (cpus == 1)
    assert gone(pid) is (cpus != 1)


def test_a_process_that_was_started_early_and_is_not_needed_ends_with_its_owner() -> None:
    script = "from sweepfleet.slot.pool import start_early, _early\nstart_early()\nprint(_early[0].pid)\n"
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    eventually(lambda: gone(int(said)), "its end")


def test_an_import_is_in_memory_about_once(tmp_path: Path, pools: Any) -> None:
    """Eight slots of a module of 100 MB use less than twice what one uses, in the kernel's proportional share."""
    code = (
        "import pathlib, time\nBIG = [bytearray(b'x' * 1000) for _ in range(90_000)]\n"
        "def fit(a):\n    pathlib.Path(f'here-{a}').touch()\n"
        "    while not pathlib.Path(f'enough-{a // 8}').exists():\n        time.sleep(0.01)\n"
        "    return sum(map(len, BIG))\n"
    )

    def used_mb(slots: int, first: int) -> float:
        pool = pools(context(tmp_path, code, grid({"a": range(16)})), slots=slots)
        pool.ready()
        threads = [threading.Thread(target=run, args=(pool, (n, n + 1))) for n in range(first, first + slots)]
        for thread in threads:
            thread.start()
        eventually(lambda: all((tmp_path / f"here-{n}").exists() for n in range(first, first + slots)), "points")
        family = psutil.Process(pool._source._first.pid).parent()
        shares = [each.memory_full_info().pss for each in [family, *family.children(recursive=True)]]
        (tmp_path / f"enough-{first // 8}").touch()
        for thread in threads:
            thread.join(timeout=120)
        pool.close()
        return sum(shares) / 1e6

    one, eight = used_mb(1, 0), used_mb(8, 8)
    assert one > 90
    assert eight < 2 * one
