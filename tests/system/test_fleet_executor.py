"""An Executor on a cluster, in the rehearsal cloud: calls from a script on a laptop, and what they live through."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.api.executor import cpython
from tests.cloud import evidence
from tests.cloud.gates import open_gates
from tests.cloud.rehearsal.cloud import until
from tests.cloud.rehearsal.handle import MachineHandle
from tests.cloud.rehearsal.host import why_not
from tests.cloud.rehearsed import Laptop
from tests.cloud.study import run_script, start_script, study

pytestmark = [
    pytest.mark.rehearsal,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]
RECOVERY_S = 300
RUN = "kept"
GATE = "/run/gate-of-calls"
CALLS = 2000
BEGINNING = """\
import json, os, sys, time
from pathlib import Path
import sweepfleet as sf
from scale import scaled

def slow(a, gate):
    if not Path(gate).exists():
        time.sleep(0.2)
    return scaled(a)

def negative(a):
    raise ValueError(f"{a} is negative")

"""
KEPT = """
import json, sqlite3, sys
ledger = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True)
print(json.dumps(dict(ledger.execute("SELECT key, started FROM calls WHERE status = 'done'").fetchall())))
"""


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    with study(tmp_path_factory, more=with_cpythons_tests) as made:
        yield made


def with_cpythons_tests(folder: Path) -> None:
    """Have them beside the scripts and in the release, where calls import their functions from."""
    with contextlib.suppress(LookupError):  # the test that needs them says so
        cpython.copy_to(folder)


def python(laptop: Laptop, code: str, *, exit_code: int = 0) -> Any:
    return run_script(laptop, BEGINNING + code, exit_code=exit_code)


def head_of(laptop: Laptop) -> MachineHandle:
    return laptop.cloud.machine(laptop.outputs.head_id)


def a_worker(laptop: Laptop) -> MachineHandle:
    on = [name for name, leader in laptop.cloud.machines().items() if leader and name != laptop.outputs.head_id]
    return laptop.cloud.machine(min(on))


def kept(laptop: Laptop, run: str = RUN) -> dict[str, float]:
    """When each call that a run has kept was started, by key; empty while that cannot be read."""
    ledger = f"/srv/sweepfleet/runs/{run}/calls.sqlite"
    done = head_of(laptop).run(["python3", "-c", KEPT, ledger], check=False)
    found: dict[str, float] = json.loads(done.stdout) if done.returncode == 0 else {}
    return found


def test_calls_return_and_raise_as_here_and_what_they_take_is_told(laptop: Laptop) -> None:
    """Functions of the script by value, the module that they use from the release; workers are started for them."""
    values, raised, cause, quick_ms = python(
        laptop,
        "with sf.Executor(stack='dev') as executor:\n"
        "    values = list(executor.map(slow, range(40), ['/']*40))\n"
        "    failed = executor.submit(negative, -1).exception()\n"
        "    times = []\n"
        "    for _ in range(20):\n"
        "        began = time.perf_counter()\n"
        "        executor.submit(int).result()\n"
        "        times.append(time.perf_counter() - began)\n"
        "print(json.dumps([values, repr(failed), str(failed.__cause__), 1000 * sorted(times)[10]]))\n",
    )
    assert values == [2 * number for number in range(40)]
    assert raised == "ValueError('-1 is negative')"
    assert "in negative" in cause
    print(f"submit to result of a call that does nothing, warm: {quick_ms:.1f} ms")


def test_a_module_that_differs_from_the_release_is_refused(laptop: Laptop) -> None:
    module = laptop.path / "study" / "scale.py"
    before = module.read_text()
    try:
        module.write_text(before.replace("2", "3"))
        said = python(laptop, "sf.Executor(stack='dev')\n", exit_code=1)
    finally:
        module.write_text(before)
    assert "has other code than this checkout: study/scale.py" in said
    assert "push()" in said


CORE = """
import importlib, unittest

theirs = {}
for name in NAMES:
    theirs |= vars(importlib.import_module(name))
CLUSTER = sf.connect("dev")

class Far(sf.Executor):
    def __init__(self, *words, **named):
        super().__init__(*words, stack=CLUSTER, **named)

SHARED = Far(5)

class OfAll:
    # One Executor for tests that do not shut theirs down. It is warm: some give calls a few seconds.
    executor_type, worker_count = Far, 5

    def setUp(self):
        super().setUp()
        self.executor = SHARED
        self.executor.submit(abs, -1).result()

    def tearDown(self):
        self.executor = None
        super().tearDown()

class Own:
    executor_type = Far

def case(name, ours, *mixins):
    # Their BaseTestCase collects garbage for half a minute while this process has more threads than before.
    made = type(name, (ours, theirs[name], *mixins, unittest.TestCase), {})
    for test, reason in NOT_OURS.items():
        if hasattr(made, test):
            setattr(made, test, unittest.skip(reason)(getattr(made, test)))
    return unittest.defaultTestLoader.loadTestsFromTestCase(made)

suite = unittest.TestSuite([
    *(case(name, OfAll) for name in ("ProcessPoolExecutorTest", "WaitTests", "AsCompletedTests")),
    case("ProcessPoolShutdownTest", Own, theirs["ExecutorMixin"]),
    case("InitializerMixin", Own),
    case("FailingInitializerMixin", Own),
])
found = unittest.TextTestRunner(verbosity=2).run(suite)
SHARED.shutdown()
bad = [f"{test}: {text}" for test, text in (*found.errors, *found.failures)]
skipped = [[test.id().rpartition(".")[2], reason] for test, reason in found.skipped]
print(f"\\n{json.dumps([found.testsRun, bad, skipped])}")
"""
# Beside those of cpython.NOT_OURS.
NOT_FAR = {
    "test_shutdown_race_issue12456": "shuts down the Executor that others use here; TestExecutor has it",
}


def test_the_standard_librarys_own_tests_pass_with_calls_on_workers(laptop: Laptop) -> None:
    """Submit, map, wait, as_completed, cancel, exceptions, shutdown, initializers."""
    place = laptop.path / "study" / "test"
    if not place.exists():
        pytest.skip("this Python has no test_concurrent_futures; see cpython.py")
    names = cpython.names(package=(place / "test_concurrent_futures").is_dir())
    beginning = f"NAMES = {names!r}\nNOT_OURS = {cpython.NOT_OURS | NOT_FAR!r}\n"
    ran, bad, skipped = python(laptop, beginning + CORE)
    assert bad == []
    assert ran - len(skipped) >= 25
    assert dict(skipped).items() <= (cpython.NOT_OURS | NOT_FAR).items()


def test_inv_cancel_ends_calls_and_keeps_what_has_finished(laptop: Laptop) -> None:
    """Those that are out raise it, and nobody starts the run again; the same calls find what was finished."""
    finished = "[executor.submit(scaled, a).result() for a in range(3)]"
    calls = (
        "with sf.Executor(stack='dev', run='stopped') as executor:\n"
        f"    done = {finished}\n"
        "    out = [executor.submit(time.sleep, 3600 + a) for a in range(20)]\n"
        "    while not any(each.running() for each in out): time.sleep(0.1)\n"
        "    print('out', flush=True)\n"
        "    print(json.dumps([done, sorted({str(each.exception()) for each in out})]))\n"
    )
    with start_script(laptop, BEGINNING + calls, stderr=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "out\n"
            laptop.inv("cancel", "--name", "stopped")
            said, errors = process.communicate(timeout=RECOVERY_S)
        finally:
            process.kill()
    assert process.returncode == 0, f"{said}\n{errors}"
    assert json.loads(said) == [[0, 2, 4], ["It was cancelled."]]
    before = kept(laptop, "stopped")
    again = f"with sf.Executor(stack='dev', run='stopped') as executor: print(json.dumps({finished}))\n"
    assert "stopped" not in python(laptop, "print(json.dumps([one.name for one in sf.connect('dev').status().runs]))")
    assert python(laptop, again) == [0, 2, 4]
    assert len(before) == 3
    assert kept(laptop, "stopped") == before


LARGE = """
import resource

def turned(data):
    return data[::-1]

PEAKS = (
    # the driver of an Executor before this one may be there still
    "for unit in sweepfleet-scheduler 'sweepfleet-run@calls-*'; do"
    " for pid in $(systemctl show -P MainPID $unit | grep -v ^0); do grep VmHWM /proc/$pid/status; done"
    " | sort -k 2 -n | tail -n 1; done"
)
fleet = sf.connect("dev")

def peaks():
    lines = fleet.run(PEAKS)["head"].stdout.splitlines()
    return [resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3, *(int(line.split()[1]) / 1e3 for line in lines)]

data = os.urandom(1 << 20) * 100
with fleet.executor() as executor:
    executor.submit(abs, -1).result()
    before = peaks()
    same = executor.submit(turned, data).result() == data[::-1]
    one = peaks()
    for _ in range(3):
        same = same and executor.submit(turned, data).result() == data[::-1]
    more = peaks()
print(json.dumps([same, before, one, more]))
"""


def test_100_mb_pass_both_ways_and_no_copy_of_them_stays(laptop: Laptop) -> None:
    """Here, in the scheduler and in the driver: four calls after one another need no more than a few copies."""
    same, before, one, more = python(laptop, LARGE)
    assert same
    print(
        f"peaks in MB of laptop, scheduler, driver: {before} before, {one} after a call of 100 MB, {more} after four"
    )
    assert len(more) == 3
    for least, most in zip(before, more, strict=True):
        assert most - least < 1200, (before, one, more)


def worker_killed(laptop: Laptop) -> None:
    a_worker(laptop).run(["pkill", "-KILL", "-f", "sweepfleet.machine.worker.dask_worker"])


def scheduler_killed(laptop: Laptop) -> None:
    head_of(laptop).run(["systemctl", "kill", "--kill-whom=main", "--signal=KILL", "sweepfleet-scheduler.service"])


def driver_killed(laptop: Laptop) -> None:
    head_of(laptop).run(["systemctl", "kill", "--kill-whom=main", "--signal=KILL", f"sweepfleet-run@{RUN}.service"])


def connection_cut(laptop: Laptop) -> None:
    head_of(laptop).run(["pkill", "-KILL", "-f", "sweepfleet.machine.head.relay"])


def head_power_cut(laptop: Laptop) -> None:
    head = head_of(laptop)
    head.kill()
    laptop.cloud.client("ec2").start_instances(InstanceIds=[head.instance_id])
    head.wait_running()


def test_calls_that_are_out_live_through_every_accident_and_none_that_was_kept_begins_again(laptop: Laptop) -> None:
    """Beneath one script, which ends as if nothing had been; another one finds all results."""
    calls = (
        f"with sf.Executor(stack='dev', run='{RUN}') as executor:\n"
        f"    values = list(executor.map(slow, range({CALLS}), ['{GATE}'] * {CALLS}))\n"
        f"print(json.dumps(values == [2 * a for a in range({CALLS})]))\n"
    )
    before: list[dict[str, float]] = []
    with start_script(laptop, BEGINNING + calls, stderr=subprocess.STDOUT) as process:
        try:
            for accident in (connection_cut, worker_killed, scheduler_killed, driver_killed, head_power_cut):
                go_on(laptop, process, accident, before)
            open_gates(laptop, GATE, process, run=RUN, timeout_s=2 * RECOVERY_S)
            said = process.communicate()[0]
        except BaseException:
            process.kill()
            print(process.communicate()[0])
            raise
    assert process.returncode == 0, said
    assert json.loads(said.splitlines()[-1]) is True
    assert "The connection is back." in said  # after the head's power was cut
    after = kept(laptop)
    assert len(after) == CALLS
    for each in before:
        assert each.items() <= after.items(), "a call that was kept was executed again"
    assert python(laptop, calls) is True
    assert kept(laptop) == after


def go_on(
    laptop: Laptop, process: subprocess.Popen[str], accident: Callable[[Laptop], None], before: list[dict[str, float]]
) -> None:
    """Have an accident while calls are out, and wait until they go on."""

    def more(than: int) -> bool:
        assert process.poll() is None, "the script has ended"
        return len(kept(laptop)) > than

    tell = lambda: evidence.of_run(laptop, RUN)  # noqa: E731
    there = len(before[-1]) if before else 0
    until(lambda: more(there), what="calls are kept", timeout_s=RECOVERY_S, tell=tell)
    before.append(kept(laptop))
    accident(laptop)
    until(
        lambda: more(len(before[-1])), what=f"calls go on after {accident.__name__}", timeout_s=RECOVERY_S, tell=tell
    )
