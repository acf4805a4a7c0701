"""A slot's runner against points that do their worst, with real processes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from sweepfleet.grid.errors import UsageError
from sweepfleet.grid.space import Space
from sweepfleet.grid.sweep import Target
from sweepfleet.slot.child import MOST_AHEAD, _ahead
from sweepfleet.slot.context import Context
from sweepfleet.slot.output import Printed
from sweepfleet.slot.process import Child
from sweepfleet.slot.records import HEADER, Packet, drop
from sweepfleet.slot.runner import Job, Runner
from sweepfleet.slot.source import RunnerClosedError, how
from tests.support import Memory, context, eventually, gone, grid, outcomes_of, space

MB = 10**6


@pytest.fixture
def start() -> Iterator[Any]:
    """Start runners; none is left when the test ends."""
    started: list[Runner] = []

    def starting(wanted: Context) -> Runner:
        started.append(Runner(wanted, name="host/0"))
        return started[-1]

    yield starting
    for each in started:
        each.close()


def run(runner: Runner, *spans: tuple[int, int], shuffle: int | None = None) -> Packet:
    """All that comes of spans; a runner gives back what it had no time for, and is asked again."""
    rest: Sequence[tuple[int, int]] = spans or [(0, Space(runner.context.plan).size)]
    whole = Packet(runner.name)
    while rest:
        packet = Packet.from_bytes(runner.run(rest, shuffle=shuffle))
        assert packet.attempts > 0
        rest = drop(rest, packet.attempts)
        whole.segments += packet.segments
        whole.wall_s += packet.wall_s
        for index, times in packet.losses.items():
            whole.losses[index] = whole.losses.get(index, 0) + times
    return whole


def test_a_bundle_whose_points_take_longer_than_was_thought_comes_back_in_parts(
    tmp_path: Path, start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is finished does not wait for the rest of its bundle, and one point at least is finished."""
    runner = start(context(tmp_path, "import time\n\ndef fit(a):\n    time.sleep(0.06)\n    return a\n"))
    first = Packet.from_bytes(runner.run([(0, 2), (5, 9)], limit_s=0.05))
    monkeypatch.setattr("sweepfleet.slot.runner.BUNDLE_LIMIT_S", 0.05)
    assert [index for index, _ in outcomes_of(first)] == [0]
    assert [index for index, _ in outcomes_of(run(runner, (1, 2), (5, 9)))] == [1, 5, 6, 7, 8]


def test_points_are_made_a_few_before_their_turn_and_come_in_order() -> None:
    """No more than MOST_AHEAD, and the first one at once."""
    made: list[int] = []
    points: Any = (made.append(number) or number for number in range(100))
    for number, point in enumerate(_ahead(points)):
        assert point == number
        assert number < len(made) <= max(1, min(2 * number + 1, number + MOST_AHEAD))
    assert made == list(range(100))


def family(pid: int) -> list[psutil.Process]:
    """A child and everything in its process group."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getpgid(process.pid) == pid:
                found.append(process)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return found


WORST = """\
import ctypes, os, sys, threading, time

class TooDeep(Exception):
    pass

def fit(a):
    if a == 100:
        os._exit(7)
    if a == 200:
        ctypes.string_at(0)  # segfault
    if a == 300:
        time.sleep(3600)  # hang
    if a == 400:
        hog = []
        while True:
            hog.append(b"x" * 5_000_000)
            time.sleep(0.001)
    if a == 500:
        return {"x": threading.Lock()}
    if a == 600:
        raise TooDeep("no ground")
    if a == 700:
        sys.exit("enough")
    if a == 800:
        os.abort()
    if a == 900:
        return [1, 2]
    return {"x": a + 0.5}
"""


def test_each_bad_point_of_a_bundle_fails_with_its_own_cause_and_takes_nothing_with_it(
    tmp_path: Path, start: Any
) -> None:
    """Of 1,000 points in one packet, the nine bad ones fail, each saying why, and all others are done once."""
    plan = grid({"a": range(1000)})
    packet = run(start(context(tmp_path, WORST, plan, timeout_s=5.0, memory_bytes=400 * MB)))
    found = outcomes_of(packet)
    assert [index for index, _ in found] == list(range(1000)), "each once, in order"
    outcomes = dict(found)
    bad = {index: outcomes.pop(index) for index in range(100, 1000, 100)}
    assert outcomes == {index: {"x": index + 0.5} for index in outcomes}
    assert {index: error_type for index, (error_type, _) in bad.items()} == {
        100: "ProcessExit",
        200: "Crash",
        300: "Timeout",
        400: "MemoryLimit",
        500: "BadResultError",
        600: "TooDeep",
        700: "SystemExit",
        800: "Crash",
        900: "BadResultError",
    }
    text = {index: error for index, (_, error) in bad.items()}
    assert "exit code 7" in text[100]
    assert "SIGSEGV" in text[200]
    assert 'fit.py", line 10 in fit' in text[200], "where it crashed"
    assert "timeout of 5 s" in text[300]
    assert 'fit.py", line 12 in fit' in text[300], "where it hangs"
    assert "resources.memory of 400 MB" in text[400]
    assert "x = <unlocked" in text[500]
    assert "artifact_dir" in text[500]
    assert 'line 21, in fit\n    raise TooDeep("no ground")' in text[600]
    assert "sweepfleet/" not in text[600], "our own frames are no help to a user"
    assert "enough" in text[700]
    assert "SIGABRT" in text[800]
    assert "[1, 2] of type list" in text[900]
    assert packet.losses == {}, "none of it is the machine's fault"
    assert packet.worker == "host/0"
    assert packet.wall_s > 0


def test_the_order_of_a_shuffled_bundle_survives_a_crash(tmp_path: Path, start: Any) -> None:
    """Spans of positions are cut where the child died, not at the index that it died at."""
    code = "import os\ndef fit(a):\n    if a % 4 == 1: os._exit(1)\n    return {'a': a}\n"
    packet = run(start(context(tmp_path, code, grid({"a": range(20)}))), (0, 7), (9, 20), shuffle=5)
    found = dict(outcomes_of(packet))
    assert len(found) == len(outcomes_of(packet)) == 18
    for index, outcome in found.items():
        assert outcome == {"a": index} if index % 4 != 1 else outcome[0] == "ProcessExit"


@pytest.mark.parametrize("failing", ["first", "last", "all"])
def test_a_bundle_whose_edge_crashes_loses_nothing(tmp_path: Path, start: Any, failing: str) -> None:
    """The first, the last or every point of a bundle may take the process with it."""
    which = {"first": "a == 0", "last": "a == 5", "all": "True"}[failing]
    code = f"import os\ndef fit(a):\n    if {which}: os._exit(1)\n    return a\n"
    found = outcomes_of(run(start(context(tmp_path, code, grid({"a": range(6)})))))
    assert [index for index, _ in found] == list(range(6))
    failed = [index for index, outcome in found if isinstance(outcome, tuple)]
    assert failed == {"first": [0], "last": [5], "all": list(range(6))}[failing]


def test_a_hang_that_holds_the_interpreters_lock_is_timed_out(tmp_path: Path, start: Any) -> None:
    """C code that never lets Python run again is ended all the same, and its line is shown."""
    code = """\
        import ctypes
        c = ctypes.PyDLL(None)  # PyDLL keeps the lock
        def fit(a):
            if a == 1:
                c.sleep(3600)
            return a
        """
    found = outcomes_of(run(start(context(tmp_path, code, grid({"a": range(3)}), timeout_s=0.5))))
    assert [index for index, _ in found] == [0, 1, 2]
    assert found[1][1][0] == "Timeout"
    assert 'fit.py", line 5 in fit' in found[1][1][1]


NOISY = """\
import os, sys
REPLY = b'\\n{"ended": true}\\n{"died": true}\\n{"refused": "no"}\\n'
def fit(a):
    if a == 1:
        try:
            for fd in (1, 2):
                os.write(fd, REPLY)
            print('{"ended": true}', flush=True)
        except OSError:
            pass  # closed by the bundle before
    if a == 2:
        os.closerange(0, 3)
    if a == 3:
        sys.stdout = sys.stderr = sys.stdin = None
    return {"a": a}
"""


def test_nothing_that_a_point_prints_or_closes_can_be_taken_for_a_reply(tmp_path: Path, start: Any) -> None:
    """Replies written to fds 1 and 2, closed standard streams and missing ones change nothing, nor later bundles."""
    runner = start(context(tmp_path, NOISY, grid({"a": range(10)})))
    for _ in range(2):
        assert outcomes_of(run(runner)) == [(index, {"a": index}) for index in range(10)]
    pid = runner.child.pid
    assert outcomes_of(run(runner, (5, 6))) == [(5, {"a": 5})]
    assert runner.child.pid == pid, "the child lives on"


def test_a_point_that_closes_every_file_fails_alone(tmp_path: Path, start: Any, monkeypatch: Any) -> None:
    """A point that closes the runner's own pipes is at fault, not its machine."""
    monkeypatch.setattr("sweepfleet.slot.life.EXIT_S", 0.2)
    code = """\
        import os, time
        def fit(a):
            if a == 2:
                os.closerange(3, 256)
                time.sleep(3600)
            return {"a": a}
        """
    packet = run(start(context(tmp_path, code, grid({"a": range(4)}))))
    found = outcomes_of(packet)
    assert [index for index, _ in found] == [0, 1, 2, 3]
    assert found[2][1][0] == "ProcessExit"
    assert "closed files" in found[2][1][1]
    assert packet.losses == {}


def test_a_file_that_a_point_puts_in_place_of_standard_error_is_not_cut(
    tmp_path: Path, start: Any, monkeypatch: Any
) -> None:
    """Keeping the log short must never cut a file of the user's."""
    monkeypatch.chdir(tmp_path)
    code = """\
        import os
        def fit(a):
            if a == 0:
                fd = os.open("mine.txt", os.O_RDWR | os.O_CREAT)
                os.write(fd, b"x" * 3_000_000)
                os.dup2(fd, 2)
            return a
        """
    runner = start(context(tmp_path, code))
    run(runner, (0, 1))
    run(runner, (1, 2))
    assert (tmp_path / "mine.txt").stat().st_size == 3_000_000


def test_a_child_killed_from_outside_is_never_the_points_fault(tmp_path: Path, start: Any) -> None:
    """The point that ran is run again and counted as lost once; everything is done exactly once."""
    code = f"""\
        import os, signal
        from pathlib import Path
        def fit(a):
            marker = Path({str(tmp_path)!r}, f"{{a}}.killed")
            if a in (3, 4) and not marker.exists():
                marker.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return {{"a": a}}
        """
    packet = run(start(context(tmp_path, code)))
    assert outcomes_of(packet) == [(index, {"a": index}) for index in range(10)]
    assert packet.losses == {3: 1, 4: 1}


def test_a_point_whose_process_is_always_killed_is_given_up_in_the_end(tmp_path: Path, start: Any) -> None:
    """After `infra_retries` further tries the point fails as ProcessLost, and the others are done."""
    code = "import os\ndef fit(a):\n    if a == 1: os.kill(os.getpid(), 9)\n    return a\n"
    packet = run(start(context(tmp_path, code, grid({"a": range(3)}), infra_retries=2)))
    found = outcomes_of(packet)
    assert [index for index, _ in found] == [0, 1, 2]
    assert found[1][1][0] == "ProcessLost"
    assert "3 times" in found[1][1][1]
    assert packet.losses == {1: 3}


def test_an_alarm_that_a_point_sets_itself_is_its_own_fault(tmp_path: Path, start: Any) -> None:
    """A process that dies by its own SIGALRM is a crash: running it twenty times more would help nobody."""
    code = "import signal, time\ndef fit(a):\n    signal.setitimer(signal.ITIMER_REAL, 0.01)\n    time.sleep(60)\n"
    packet = run(start(context(tmp_path, code, grid({"a": [0]}))))
    assert outcomes_of(packet)[0][1][0] == "Crash"
    assert "SIGALRM" in outcomes_of(packet)[0][1][1]


def test_a_child_that_dies_between_bundles_costs_nothing(tmp_path: Path, start: Any) -> None:
    """What an idle child had finished for the last bundle is not taken for the next one's results."""
    code = "def fit(a):\n    return {'a': a}\n"
    runner = start(context(tmp_path, code))
    assert len(outcomes_of(run(runner, (0, 6)))) == 6
    os.kill(runner.child.pid, signal.SIGKILL)
    eventually(lambda: gone(runner.child.pid), "the child's end")
    packet = run(runner, (6, 10))
    assert outcomes_of(packet) == [(index, {"a": index}) for index in range(6, 10)]
    assert packet.losses == {}


def test_what_a_point_leaves_running_may_end_the_child_between_bundles(tmp_path: Path, start: Any) -> None:
    """A thread that exits the idle process later takes no point, no result and no sweep with it."""
    code = """\
        import os, threading
        def fit(a):
            if a == 5:
                threading.Timer(0.1, os._exit, [9]).start()
            return {"a": a}
        """
    runner = start(context(tmp_path, code))
    assert len(outcomes_of(run(runner, (0, 6)))) == 6
    pid = runner.child.pid
    eventually(lambda: gone(pid), "the child's end")
    assert outcomes_of(run(runner, (6, 10))) == [(index, {"a": index}) for index in range(6, 10)]


def test_a_child_that_never_comes_to_a_point_is_given_up(tmp_path: Path, start: Any, monkeypatch: Any) -> None:
    """A fault of ours is told, with the child's last words, instead of being tried for ever."""
    runner = start(context(tmp_path, "def fit(a): return a\n"))
    # A job that no child can read stands for any bug on the child's side.
    monkeypatch.setattr(Child, "start", lambda self, *_: self.send('{"no": "job"}'))
    with pytest.raises(RuntimeError, match=r"KeyError: 'limit_s'"):
        run(runner)


def test_a_point_may_fork_and_leave_the_copy_behind(tmp_path: Path, start: Any) -> None:
    """A forked copy that lingers, comes back from the point, or exits its own way writes no results for us."""
    code = f"""\
        import os, sys, time
        from pathlib import Path
        def fit(a):
            pid = os.fork()
            if pid == 0:
                if a == 1: time.sleep(3600)
                if a == 2: sys.exit(5)
                if a == 3: raise ValueError("in the copy")
                return {{"copy": 1.0}}
            if a == 1:
                Path({str(tmp_path)!r}, "pid").write_text(str(pid))
                return {{"a": a, "status": 0}}
            return {{"a": a, "status": os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}}
        """
    runner = start(context(tmp_path, code, grid({"a": range(5)})))
    statuses = [0, 0, 5, 1, 0]
    expected = [(a, {"a": a, "status": status}) for a, status in enumerate(statuses)]
    assert outcomes_of(run(runner)) == expected
    assert outcomes_of(run(runner, (4, 5))) == expected[4:]
    copy = int((tmp_path / "pid").read_text())
    assert not gone(copy)
    runner.close()
    eventually(lambda: gone(copy), "the end of the forked copy")


def test_a_forked_copy_that_lives_on_does_not_hide_the_childs_death(tmp_path: Path, start: Any) -> None:
    """A copy inherits the pipes: the owner must not wait for it when the child itself has died."""
    code = """\
        import os, time
        def fit(a):
            if a == 1:
                if os.fork() == 0:
                    time.sleep(3600)
                os._exit(3)
            return a
        """
    packet = run(start(context(tmp_path, code, grid({"a": range(3)}))))
    assert [outcome[0] for _, outcome in outcomes_of(packet) if isinstance(outcome, tuple)] == ["ProcessExit"]


def test_multiprocessing_and_threads_work_inside_a_point(tmp_path: Path, start: Any) -> None:
    """A pool of forked processes and a thread left behind are a point's own business."""
    code = """\
        import multiprocessing, threading, time
        def double(x): return 2 * x
        def fit(a):
            threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()
            with multiprocessing.get_context("fork").Pool(2) as pool:
                return {"sum": sum(pool.map(double, range(a)))}
        """
    packet = run(start(context(tmp_path, code, grid({"a": range(4)}))))
    assert outcomes_of(packet) == [(a, {"sum": a * (a - 1)}) for a in range(4)]


def test_a_point_may_wait_for_all_its_children(tmp_path: Path, start: Any) -> None:
    """The shell that watches for the owner's end is not among the processes that `os.wait` waits for."""
    code = """\
        import os
        def fit(a):
            if os.fork() == 0:
                os._exit(0)
            count = 0
            while True:
                try:
                    os.wait()
                except ChildProcessError:
                    return {"children": count}
                count += 1
        """
    packet = run(start(context(tmp_path, code, grid({"a": [0]}), timeout_s=30)))
    assert outcomes_of(packet) == [(0, {"children": 1})]


def test_a_point_past_its_timeout_fails_even_if_it_ends_while_it_is_asked_where_it_is(
    tmp_path: Path, start: Any
) -> None:
    """Being asked where it hangs may wake a point up: what it then returns is not taken for a result."""
    code = """\
        import faulthandler, signal, time
        now = []
        def fit(a):
            if a == 0:
                faulthandler.unregister(signal.SIGUSR1)
                signal.signal(signal.SIGUSR1, lambda *_: now.append(1))
                while not now:
                    time.sleep(0.005)
            return {"a": a}
        """
    packet = run(start(context(tmp_path, code, grid({"a": range(3)}), timeout_s=0.5)))
    (first, timeout), *others = outcomes_of(packet)
    assert (first, timeout[0]) == (0, "Timeout")
    assert others == [(1, {"a": 1}), (2, {"a": 2})]


def test_what_a_killed_child_had_still_to_say_is_read(tmp_path: Path, start: Any, monkeypatch: Any) -> None:
    """A new shape of result that was announced just before a timeout is known when the results are read."""
    first: list[int] = []
    hearing = Child.reply

    def deaf(self: Child, timeout_s: float | None) -> Any:
        """Hears nothing of what the first child says while it runs."""
        if first == [self.pid] and timeout_s:
            time.sleep(0.01)
            return None
        return hearing(self, timeout_s)

    code = "import time\ndef fit(a):\n    if a == 1: time.sleep(3600)\n    return {'a': a}\n"
    runner = start(context(tmp_path, code, grid({"a": range(3)}), timeout_s=0.5))
    runner.ready()
    first.append(runner.child.pid)
    monkeypatch.setattr(Child, "reply", deaf)
    (_, done), (_, timeout), (_, last) = outcomes_of(run(runner))
    assert (done, timeout[0], last) == ({"a": 0}, "Timeout", {"a": 2})


def test_a_full_memory_is_emptied_and_the_bundle_goes_on(tmp_path: Path, start: Any) -> None:
    """A bundle whose results do not fit at once comes back whole, in several segments."""
    code = "def fit(a):\n    return {'text': chr(97 + a % 26) * 1_000_000}\n"
    packet = run(start(context(tmp_path, code, grid({"a": range(100)}))))
    assert len(packet.segments) > 1
    assert outcomes_of(packet) == [(a, {"text": chr(97 + a % 26) * 1_000_000}) for a in range(100)]


@pytest.mark.parametrize("what", ["sleeping", "holding the lock", "forking", "a command"])
def test_everything_ends_when_the_owner_is_killed(tmp_path: Path, what: str) -> None:
    """SIGKILL of the owner: child, supervisor and whatever a point started are gone soon after."""
    body = {
        "sleeping": "import time; time.sleep(3600)",
        "holding the lock": "import ctypes; ctypes.PyDLL(None).sleep(3600)",
        "forking": "import subprocess; subprocess.run(['sleep', '3600'])",
        "a command": "pass",
    }[what]
    target = Target(command=("sh", "-c", "sleep 3600; true")) if what == "a command" else None
    wanted = context(tmp_path, f"def fit(a):\n    {body}\n", grid({"a": [0]}), target=target)
    script = (
        "import sys\nfrom sweepfleet.slot.context import Context\nfrom sweepfleet.slot.runner import Runner\n"
        "runner = Runner(Context.from_json(sys.stdin.readline()), name='x')\nrunner.ready()\n"
        "print(runner.child.pid, flush=True)\nrunner.run([(0, 1)])\n"
    )
    owner = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        owner.stdin.write(wanted.to_json() + "\n")
        owner.stdin.flush()
        pid = int(owner.stdout.readline())
        count = {"sleeping": 1, "holding the lock": 1, "forking": 2, "a command": 3}[what]
        eventually(lambda: len(family(pid)) >= count, "the point's start")
        if count == 1:
            time.sleep(0.1)  # for the point to begin
        processes = family(pid)
    finally:
        owner.kill()
        owner.communicate()
    eventually(lambda: all(gone(process.pid) for process in processes), "their end")


@pytest.mark.parametrize("script", ["sleep 3600", "kill -9 $PPID"], ids=["a timeout", "the child dies"])
def test_a_command_s_files_go_with_a_child_that_is_killed(
    tmp_path: Path, start: Any, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    words = ("sh", "-c", f"cp $SWEEPFLEET_PARAMS_FILE {tmp_path}/seen; env > {tmp_path}/env; {script}")
    runner = start(
        context(tmp_path, "", grid({"a": [1]}), target=Target(command=words), timeout_s=1.0, infra_retries=0)
    )
    assert outcomes_of(run(runner, (0, 1)))[0][1] != 1
    assert json.loads((tmp_path / "seen").read_text()) == {"a": 1}
    assert "_SWEEPFLEET_SCRATCH" not in (tmp_path / "env").read_text()
    runner.close()
    assert not list(temporary.iterdir())


def test_a_timeout_ends_what_a_command_started(tmp_path: Path, start: Any) -> None:
    """A command past its timeout goes with the processes below it, and the next point is run."""
    target = Target(command=("sh", "-c", f"echo $$ >> {tmp_path}/pids; [ {{a}} = 1 ] && sleep 3600; echo {{a}}"))
    packet = run(start(context(tmp_path, "", grid({"a": range(3)}), target=target, timeout_s=1.0)))
    found = outcomes_of(packet)
    assert [found[0][1], found[2][1]] == [{"value": 0}, {"value": 2}]
    assert found[1][1][0] == "Timeout"
    for pid in map(int, (tmp_path / "pids").read_text().split()):
        eventually(lambda pid=pid: gone(pid), "the command's end")


def test_a_command_that_outgrows_the_memory_fails(tmp_path: Path, start: Any) -> None:
    """The memory of a command's own processes counts."""
    hog = f"{sys.executable} -c \"import time; x = b'x' * 300_000_000; time.sleep(3600)\""
    target = Target(command=("sh", "-c", f"[ {{a}} = 0 ] && {hog}; echo {{a}}"))
    packet = run(start(context(tmp_path, "", grid({"a": range(2)}), target=target, memory_bytes=200 * MB)))
    found = outcomes_of(packet)
    assert found[0][1][0] == "MemoryLimit"
    assert found[1] == (1, {"value": 1})


POOL = """\
import multiprocessing, os, subprocess, sys, time

HELD = b"x" * {held}

def hog(size):
    held = b"x" * size
    time.sleep({sleep})
    return len(held)

def fit(a):
    if a == 0:
        with multiprocessing.get_context({kind!r}).Pool(2) as pool:
            return sum(pool.map(hog, [{size}, {size}]))
    return a
"""


@pytest.mark.parametrize("kind", ["fork", "spawn"])
def test_the_memory_of_a_points_processes_counts(tmp_path: Path, start: Any, kind: str) -> None:
    """Each of a pool's processes is below the limit, all together are not; the next point is done."""
    code = POOL.format(held=1, size=200 * MB, kind=kind, sleep=60)
    packet = run(start(context(tmp_path, code, grid({"a": range(2)}), memory_bytes=350 * MB)))
    (_, (error_type, error)), second = outcomes_of(packet)
    assert error_type == "MemoryLimit"
    assert re.search(r"Used [34]\d\d MB in \d processes, more than its resources.memory of 350 MB", error)
    assert second == (1, {"value": 1})


def test_memory_that_forked_processes_share_counts_once(tmp_path: Path, start: Any) -> None:
    """What a parent holds is resident in each of its forked children, and yet there once."""
    code = POOL.format(held=200 * MB, size=MB, kind="fork", sleep=1.0)
    packet = run(start(context(tmp_path, code, grid({"a": range(2)}), memory_bytes=400 * MB)))
    assert outcomes_of(packet) == [(0, {"value": 2 * MB}), (1, {"value": 1})]


def test_the_memory_of_a_daemon_that_a_point_left_counts(tmp_path: Path, start: Any) -> None:
    """It is not below the child any more; the point that outgrows the limit with it is to blame."""
    code = """\
        import os, time
        def fit(a):
            if a == 0:
                if os.fork() == 0:
                    os.setsid()
                    if os.fork() == 0:
                        held = b"x" * 400_000_000
                        time.sleep(3600)
                    os._exit(0)
                os.wait()
                time.sleep(3600)
            return a
        """
    packet = run(start(context(tmp_path, code, grid({"a": range(2)}), memory_bytes=200 * MB)))
    (_, (error_type, _)), second = outcomes_of(packet)
    assert (error_type, second) == ("MemoryLimit", (1, {"value": 1}))


@pytest.mark.parametrize("hang", ["import time; time.sleep(3600)", "import ctypes; ctypes.PyDLL(None).sleep(3600)"])
def test_close_ends_a_running_bundle(tmp_path: Path, hang: str) -> None:
    """`close` in one thread raises RunnerClosedError in the thread that runs, and leaves no process."""
    runner = Runner(context(tmp_path, f"def fit(a):\n    {hang}\n", grid({"a": range(3)})), name="x")
    raised: list[BaseException] = []

    def running() -> None:
        try:
            runner.run([(0, 3)])
        except RunnerClosedError as error:
            raised.append(error)

    thread = threading.Thread(target=running)
    thread.start()
    eventually(lambda: runner.child.running().point_index == 0, "the point's start")
    processes = family(runner.child.pid)
    assert processes
    runner.close()
    thread.join(timeout=30)
    assert [type(error) for error in raised] == [RunnerClosedError]
    assert all(gone(process.pid) for process in processes)


def test_close_ends_the_wait_for_an_import(tmp_path: Path) -> None:
    """A target that is still being imported does not hold up the end."""
    runner = Runner(context(tmp_path, "import time\ntime.sleep(3600)\n"), name="x")
    raised: list[BaseException] = []

    def waiting() -> None:
        try:
            runner.ready()
        except RunnerClosedError as error:
            raised.append(error)

    thread = threading.Thread(target=waiting)
    thread.start()
    runner.close()
    thread.join(timeout=30)
    assert [type(error) for error in raised] == [RunnerClosedError]


def test_a_runner_that_was_closed_runs_nothing(tmp_path: Path) -> None:
    """A bundle that comes after the end is refused, not run in a new process."""
    runner = Runner(context(tmp_path, "def fit(a): return a\n"), name="x")
    runner.close()
    with pytest.raises(RunnerClosedError):
        runner.run([(0, 1)])


@pytest.mark.parametrize(
    ("code", "seen"),
    [
        ("import os\nos._exit(3)\n", "ended with exit code 3"),
        ("import ctypes\nctypes.string_at(0)\n", "killed by SIGSEGV"),
        ("import sys\nsys.exit(4)\n", "failed with SystemExit: 4"),
        ("raise RuntimeError('no licence')\n", "failed with RuntimeError: no licence"),
        ("def fit(a: return\n", "failed with SyntaxError"),
        ("import no_such_package.inner\n", "needs 'no_such_package', which is not installed here"),
        ("def other(a): pass\nX = 1\n", "fit has no 'fit'. It has: other"),
        ("fit = 3\n", "is a int, not a function"),
        ("def fit(b): pass\n", "it does not take a, which the grid has; it needs b, which the grid does not have"),
        ("def fit(a, /): pass\n", "it does not take a"),
    ],
)
def test_a_target_that_cannot_be_used_is_refused_with_its_reason(
    tmp_path: Path, start: Any, code: str, seen: str
) -> None:
    """Importing that exits, crashes, raises or finds the wrong thing is the user's error, told at once."""
    with pytest.raises(UsageError) as refusal:
        start(context(tmp_path, code)).ready()
    assert seen in str(refusal.value)
    assert "fit" in str(refusal.value)


def test_a_child_that_is_killed_while_it_imports_is_started_again(tmp_path: Path, start: Any) -> None:
    """A machine's trouble at the start is no fault of the target."""
    marker = tmp_path / "killed"
    code = f"""\
        import os
        from pathlib import Path
        if not Path({str(marker)!r}).exists():
            Path({str(marker)!r}).touch()
            os.kill(os.getpid(), 9)
        def fit(a): return a
        """
    start(context(tmp_path, code)).ready()
    assert marker.exists()


def test_a_child_is_not_misled_by_files_in_the_current_folder(tmp_path: Path, start: Any, monkeypatch: Any) -> None:
    """A user's own worker.py, grid.py or json.py where the command is given does not come before the real ones."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name in ("worker.py", "grid.py", "json.py", "sweep.py"):
        (elsewhere / name).write_text("raise RuntimeError('the wrong module')\n")
    monkeypatch.chdir(elsewhere)
    assert outcomes_of(run(start(context(tmp_path, "def fit(a): return a\n")), (3, 4))) == [(3, {"value": 3})]


def test_the_header_is_never_read_half_written() -> None:
    """The owner looks at the header at any time: it never sees a point that no child began."""
    memory = Memory()
    points = list(space({"a": range(1, 50)}).points(1, 49))
    raw_ids = [bytes.fromhex(point.id) for point in points]
    pid = os.fork()
    if pid == 0:
        try:
            while True:
                for point, raw_id in zip(points, raw_ids, strict=True):
                    memory.writer.begin(point, raw_id)
        finally:
            os._exit(0)
    try:
        eventually(lambda: HEADER.unpack_from(memory.mapped)[0] > 0, "the first point")
        seen = [HEADER.unpack_from(memory.mapped)[:2] for _ in range(300_000)]
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        memory.close()
    assert {index for since_s, index in seen if since_s == 0.0 or not 1 <= index <= 48} == set()


def test_threads_of_blas_are_pinned_to_the_points_share(tmp_path: Path, start: Any) -> None:
    """A point sees as many BLAS threads as the grid gives it cores."""
    code = "import os\ndef fit(a): return {'threads': int(os.environ['OPENBLAS_NUM_THREADS'])}\n"
    assert outcomes_of(run(start(context(tmp_path, code, cpus=3)), (0, 1))) == [(0, {"threads": 3})]


def test_a_points_traceback_has_the_printed_words_of_a_crash(tmp_path: Path, start: Any) -> None:
    """What a process said before it ended is in the error."""
    code = "import os\ndef fit(a):\n    print('cannot open the licence', flush=True)\n    os._exit(9)\n"
    ((_, (_, error)),) = outcomes_of(run(start(context(tmp_path, code)), (0, 1)))
    assert "cannot open the licence" in error


def test_an_error_text_with_bytes_that_are_no_text_reaches_every_file(tmp_path: Path, start: Any) -> None:
    """File names that are no UTF-8 come with lone surrogates, which no table can hold: they are spelled out."""
    code = "def fit(a):\n    open(b'/nowhere/\\xff'.decode(errors='surrogateescape'))\n"
    ((_, (error_type, error)),) = outcomes_of(run(start(context(tmp_path, code)), (0, 1)))
    assert error_type == "FileNotFoundError"
    assert "\\udcff" in error
    error.encode()


def test_jobs_cross_the_pipe_whole(tmp_path: Path, start: Any) -> None:
    """A bundle of a thousand spans is longer than a pipe's buffer, and arrives."""
    spans = [(2 * k, 2 * k + 1) for k in range(20_000)]
    assert len(json.dumps(spans)) > 1 << 16
    runner = start(context(tmp_path, "def fit(a): return a\n", grid({"a": range(40_000)})))
    found = outcomes_of(run(runner, *spans))
    assert [index for index, _ in found] == [start for start, _ in spans]


def test_points_that_a_rule_leaves_out_are_not_run(tmp_path: Path, start: Any) -> None:
    """A span with holes in it gives only the points that there are."""
    plan = grid({"a": range(10)}, where=("a % 2 == 0",))
    packet = run(start(context(tmp_path, "def fit(a): return a\n", plan)), *Space(plan).spans(0, 10))
    assert [index for index, _ in outcomes_of(packet)] == [0, 2, 4, 6, 8]


def test_unknown_signals_have_a_name_too() -> None:
    """Real-time signals have no name of their own in Python."""
    assert how(-signal.SIGKILL) == "was killed by SIGKILL"
    assert how(-(signal.SIGRTMIN + 3)) == f"was killed by signal {signal.SIGRTMIN + 3}"


NEXT = """\
    import os, time
    from pathlib import Path
    def fit(a):
        print("this is", a)
        Path({folder!r}, str(a)).touch()
        if a == {bad}:
            {deed}
        return a
    """


def next_one(tmp_path: Path, start: Any, deed: str, *, bad: int = 3, **options: Any) -> tuple[Runner, Packet]:
    """A runner that was given points 0 and 1, and has begun with 2, 3 and 4 by itself; what came of the first."""
    code = NEXT.format(folder=str(tmp_path), bad=bad, deed=deed)
    runner = start(context(tmp_path, code, log_bytes=1000, **options))
    first = Packet.from_bytes(runner.compute(Job([(0, 2)]), lambda: Job([(2, 5)])))
    eventually((tmp_path / "2").exists, "the first point of the next bundle")
    return runner, first


def printed(packet: Packet) -> list[str]:
    """What a packet's points printed."""
    return sorted(Printed.unpack(packed).text for packed in packet.outputs.values())


def test_a_child_begins_the_next_bundle_while_results_are_packed(tmp_path: Path, start: Any) -> None:
    runner, first = next_one(tmp_path, start, "pass")
    assert [index for index, _ in outcomes_of(first)] == [0, 1]
    assert printed(first) == ["this is 0\n", "this is 1\n"]
    eventually((tmp_path / "4").exists, "the last point of the next bundle")
    second = Packet.from_bytes(runner.compute(Job([(2, 5)])))
    assert [index for index, _ in outcomes_of(second)] == [2, 3, 4]
    assert printed(second) == ["this is 2\n", "this is 3\n", "this is 4\n"]
    assert [index for index, _ in outcomes_of(run(runner, (5, 6)))] == [5], "and nothing is left of it"


@pytest.mark.parametrize(
    ("deed", "options", "said"),
    [
        ("os._exit(3)", {}, "exit code 3"),
        ("time.sleep(3600)", {"timeout_s": 0.3}, "Took longer than its timeout"),
        ("raise ValueError('no')", {}, "ValueError: no"),
    ],
)
def test_what_a_bundle_that_has_begun_by_itself_does_is_its_own(
    tmp_path: Path, start: Any, deed: str, options: dict[str, Any], said: str
) -> None:
    """Nobody looked at the child meanwhile: a crash, a timeout and an error are those of the right point."""
    runner, first = next_one(tmp_path, start, deed, **options)
    assert len(outcomes_of(first)) == 2
    second = Packet.from_bytes(runner.compute(Job([(2, 5)])))
    found = dict(outcomes_of(second))
    assert sorted(found) == [2, 3, 4]
    assert said in found[3][1]
    assert (found[2]["value"], found[4]["value"]) == (2, 4)


def test_a_bundle_that_has_begun_by_itself_ends_with_its_runner(tmp_path: Path, start: Any) -> None:
    runner, _ = next_one(tmp_path, start, "time.sleep(3600)")
    pid = runner.child.pid
    runner.close()
    eventually(lambda: gone(pid), "the child's end")
    with pytest.raises(RunnerClosedError):
        runner.compute(Job([(2, 5)]))


def test_a_child_is_left_alone_until_its_point_may_have_taken_too_long(
    tmp_path: Path, start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = start(context(tmp_path, "import time\n\ndef fit(a):\n    time.sleep(0.3)\n    return a\n", timeout_s=60))
    runner.ready()
    answers: list[object] = []
    reply = Child.reply

    def noted(child: Child, timeout_s: float | None) -> dict[str, Any] | None:
        answers.append(reply(child, timeout_s))
        return answers[-1]  # type: ignore[return-value]

    monkeypatch.setattr(Child, "reply", noted)
    assert len(outcomes_of(run(runner, (0, 1)))) == 1
    assert answers
    assert None not in answers
