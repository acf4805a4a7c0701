"""A run of calls: what was computed is found again, by whoever asks, whatever was killed meanwhile."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import psutil
import pytest

import sweepfleet as sf
from sweepfleet.run.forget import remove, to_remove
from sweepfleet.run.runs import find, listed
from tests.api.executor.logged import slow_log, squared
from tests.processes import ends_with_test

LONG_S = 60


@pytest.fixture
def project(tmp_path, monkeypatch):
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "mine"\nversion = "0"\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def logs(path, value):
    with Path(path).open("a") as log:
        log.write(f"{value}\n")
    if value == "fails":
        raise ValueError(value)
    return {"value": value, "array": np.ones(5000) * 3}


def times(path):
    return Counter(path.read_text().split()) if path.exists() else Counter()


def test_what_was_computed_is_found_again_and_failed_calls_are_computed_again(project):
    log = project / "log"
    for tries in (1, 2, 3):
        with sf.Executor(2, run="found") as executor:
            futures = [executor.submit(logs, log, value) for value in ("a", "b", "a")]
            fails = executor.submit(logs, log, "fails")
            assert [each.result(LONG_S)["value"] for each in futures] == ["a", "b", "a"]
            array = futures[0].result()["array"]
            array += 1  # its own, also of one that was found
            assert array[0] == 4
            assert isinstance(fails.exception(LONG_S), ValueError)
        assert times(log) == {"a": 1, "b": 1, "fails": tries}
    assert list((project / "runs/found/.calls").iterdir()) == []


def test_arguments_are_the_same_by_content(project):
    log = project / "log"
    with sf.Executor(1, run="content") as executor:

        def same(**arguments):
            logs(log, "x")
            return len(arguments)

        for words in (["b", "a"], ["a", "b"]):
            made = {"names": set(words), "table": {"x": np.arange(10_000)}, "text": "abc"}
            assert executor.submit(same, **made, number=1).result(LONG_S) == 4
        assert times(log) == {"x": 1}
        for number in (1.0, True, 2):
            executor.submit(same, **made, number=number).result(LONG_S)
        assert times(log) == {"x": 4}


def test_other_code_is_another_call(project):
    log = project / "log"
    module = project / "work.py"
    helper = project / "helping.py"
    program = "import sweepfleet as sf, work; print(sf.Executor(1, run='code').submit(work.work, 3).result())"
    text = (
        "import helping\ndef other(): pass\n"
        f"def work(x):\n    open({str(log)!r}, 'a').write('x\\n')\n    return helping.f(x)\n"
    )

    def run():
        ran = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=LONG_S
        )
        assert ran.returncode == 0, ran.stderr
        return ran.stdout.strip(), times(log)["x"]

    helper.write_text("def f(x):\n    return x\n")
    module.write_text(text)
    assert [run(), run()] == [("3", 1), ("3", 1)]
    module.write_text(text.replace("other(): pass", "other(): return 1"))  # which it does not use
    assert run() == ("3", 1)
    helper.write_text("def f(x):\n    return -x\n")
    assert run() == ("-3", 2)


PROGRAM = """
import pathlib, sys
import sweepfleet as sf
from tests.api.executor.logged import slow_log
executor = sf.Executor(2, run="killed")
futures = [executor.submit(slow_log, sys.argv[1], number) for number in range(2000)]
for number, future in enumerate(futures):
    assert future.result() == 2 * number
    print(number, flush=True)
"""


def driver_below(pid):
    return next(
        each.pid
        for each in psutil.Process(pid).children(recursive=True)
        if "sweepfleet.run.calls.here" in each.cmdline()
    )


@pytest.mark.parametrize("victim", ["user", "driver"])
def test_after_a_kill_nothing_is_computed_twice_that_was_finished(project, victim):
    log, root = project / "log", Path(__file__).parents[3]
    process = ends_with_test(
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, log],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(root)},
        )
    )
    told = [int(process.stdout.readline()) for _ in range(300)]
    os.kill(process.pid if victim == "user" else driver_below(process.pid), signal.SIGKILL)
    out, err = process.communicate(timeout=LONG_S)
    assert victim == "user" or "BrokenError" in err, err
    told += [int(line) for line in out.split()]
    # The calls of the dead end before the run's lock is free; so does what they wrote.
    executor = again(LONG_S)
    before = times(project / "finished")
    with executor:
        futures = [executor.submit(slow_log, str(log), number) for number in range(2000)]
        assert [each.result(LONG_S) for each in futures] == [2 * number for number in range(2000)]
    assert len(told) < 2000
    after = times(log)
    assert set(after) == {str(number) for number in range(2000)}
    twice = {number for number, count in after.items() if count > 1}
    assert not twice & {str(number) for number in told}
    # A process can be killed between the call's last line and the record of its end: one call a slot.
    assert len(twice & set(before)) <= 2
    assert len(twice) <= 2


def again(patience_s):
    """An Executor of the run, once its killed driver has ended."""
    end_s = time.monotonic() + patience_s
    while True:
        try:
            return sf.Executor(2, run="killed")
        except sf.UsageError:  # it is being written
            assert time.monotonic() < end_s
            time.sleep(0.05)


def test_a_run_has_one_driver(project):
    with sf.Executor(1, run="mine") as executor:
        executor.submit(abs, 1).result(LONG_S)
        with pytest.raises(sf.UsageError, match=r'is being written by .* another name: Executor\(run="mine-2"\)$'):
            sf.Executor(1, run="mine")


def test_what_has_no_content_is_refused_with_the_fix(project):
    loop = []
    loop.append(loop)
    with sf.Executor(1, run="loop") as executor:
        with pytest.raises(sf.UsageError, match="without run="):
            executor.submit(len, loop).result(LONG_S)
        assert executor.submit(len, [1]).result(LONG_S) == 1


def test_a_run_of_calls_is_listed_and_never_taken_for_a_sweep(project):
    with sf.Executor(1, run="calls") as executor:
        executor.submit(abs, -1).result(LONG_S)
        executor.submit(abs, "x").exception(LONG_S)
    (run,) = listed(project / "runs")
    assert (run.folder.name, run.state, run.done, run.failed, run.problem) == ("calls", "calls", 1, 1, "")
    with pytest.raises(sf.UsageError, match=r'Executor\(run="calls"\) finds their results'):
        sf.open("calls")
    with pytest.raises(sf.UsageError, match="There are no runs"):
        sf.open()
    with pytest.raises(sf.UsageError, match="has the calls of an Executor"):
        sf.sweep(abs, {"x": [1]}, name="calls")
    sf.sweep(squared, {"x": [1]}, name="swept", runs=project / "runs")
    with pytest.raises(sf.UsageError, match="is a sweep"):
        sf.Executor(1, run="swept")
    with sf.Executor(1, run="calls") as executor:
        assert executor.submit(abs, -1).result(LONG_S) == 1
        with pytest.raises(sf.UsageError, match="is being written"):
            to_remove(find(project / "runs", "calls", calls=True), where=None)
    folder = find(project / "runs", "calls", calls=True)
    with pytest.raises(sf.UsageError, match="no rows to choose from"):
        to_remove(folder, where="x > 1")
    removal = to_remove(folder, where=None)
    assert "2 calls (1 done, 1 failed)" in str(removal)
    remove(removal)
    assert [each.folder.name for each in listed(project / "runs")] == ["swept"]
