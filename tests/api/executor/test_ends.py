"""How an Executor ends: with the interpreter, when it is dropped, when a process of it or its user is killed."""

import concurrent.futures
import gc
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

import sweepfleet as sf
from tests.processes import ends_with_test

LONG_S = 60


def program(text, *, wait=True):
    """A Python program that uses an Executor; its standard output and error, once it has ended."""
    words = [sys.executable, "-c", "import sweepfleet as sf\n" + textwrap.dedent(text)]
    process = ends_with_test(subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
    return process.communicate(timeout=LONG_S) if wait else process


def gone(pids):
    """Wait until none of these processes is there."""
    end_s = time.monotonic() + LONG_S
    while left := [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie"]:
        assert time.monotonic() < end_s, left
        time.sleep(0.02)


def below(pid):
    return [each.pid for each in psutil.Process(pid).children(recursive=True)]


@pytest.mark.parametrize("last", ["", "executor.shutdown(wait=False)", "del executor"])
def test_python_ends_when_all_calls_have_ended(last):
    out, err = program(f"""
        import time
        executor = sf.Executor(1)
        def say(text):
            time.sleep(0.1)
            print(text, flush=True)
        for text in ("one", "two", "three"):
            executor.submit(say, text)
        {last}
    """)
    assert (out, err) == ("one\ntwo\nthree\n", "")


def test_no_call_is_taken_after_the_interpreters_end():
    out, err = program("""
        import atexit
        @atexit.register
        def last():
            try:
                executor.submit(id, None)
            except RuntimeError as error:
                print(error)
        executor = sf.Executor(1)
        executor.submit(id, 42).result()
    """)
    assert (out, err) == ("cannot schedule new futures after interpreter shutdown\n", "")


def test_calls_that_have_not_begun_can_be_cancelled_at_the_end():
    out, err = program("""
        import time
        executor = sf.Executor(1)
        executor.submit(time.sleep, 0)
        futures = [executor.submit(print, number) for number in range(100)]
        executor.shutdown(wait=False, cancel_futures=True)
        print(sum(each.cancelled() for each in futures) > 50)
    """)
    assert out.startswith("True")
    assert err == ""


def test_a_dropped_executor_finishes_its_calls_and_leaves_no_process():
    executor = sf.Executor(2)
    pids = list(executor.map(lambda _: os.getpid(), range(50)))
    results = executor.map(pow, range(500), [2] * 500)
    threads = executor._client._writing
    del executor
    gc.collect()
    assert list(results) == [number**2 for number in range(500)]
    threads.join(LONG_S)
    gone(pids)


def test_after_shutdown_no_process_is_left_not_even_what_a_call_started(tmp_path):
    before = below(os.getpid())
    with sf.Executor(2) as executor:

        def starts():
            started = subprocess.Popen(["sleep", "1000"], start_new_session=True)
            return os.getpid(), os.getppid(), started.pid

        pids = [pid for found in executor.map(lambda _: starts(), range(2)) for pid in found]
    gone(pids)
    assert set(below(os.getpid())) <= set(before)


def test_calls_end_with_their_user_also_when_it_is_killed(tmp_path):
    process = program(
        f"""
        import os, pathlib, subprocess, time
        def long(number):
            started = subprocess.Popen(["sleep", "1000"], start_new_session=True)
            pids = os.getpid(), os.getppid(), started.pid
            pathlib.Path({str(tmp_path)!r}, str(number)).write_text(" ".join(map(str, pids)))
            time.sleep(1000)
        executor = sf.Executor(2)
        executor.map(long, range(10))
        if (child := os.fork()) == 0:  # which has a copy of everything that is open
            time.sleep(1000)
        pathlib.Path({str(tmp_path)!r}, "fork").write_text(str(child))
        executor.shutdown()
        """,
        wait=False,
    )
    end_s = time.monotonic() + LONG_S
    while {path.name for path in tmp_path.iterdir() if path.read_text()} != {"0", "1", "fork"}:
        assert time.monotonic() < end_s
        time.sleep(0.02)
    fork = int((tmp_path / "fork").read_text())
    others = set(below(process.pid)) - {fork}
    others |= {int(pid) for name in ("0", "1") for pid in (tmp_path / name).read_text().split()}
    process.kill()
    process.wait()
    try:
        gone(others)
    finally:
        os.kill(fork, signal.SIGKILL)


def driver_of(executor):
    """Its process's id."""
    return next(pid for pid in below(os.getpid()) if "sweepfleet.run.calls.here" in psutil.Process(pid).cmdline())


def test_a_killed_driver_breaks_the_executor_and_leaves_no_process():
    executor = sf.Executor(2)
    pids = [executor.submit(os.getpid).result(LONG_S)]
    futures = [executor.submit(time.sleep, 1000) for _ in range(10)]
    os.kill(driver_of(executor), signal.SIGKILL)
    for future in futures:
        with pytest.raises(concurrent.futures.BrokenExecutor, match="driver"):
            future.result(LONG_S)
    with pytest.raises(concurrent.futures.BrokenExecutor):
        executor.submit(abs, 1)
    executor.shutdown()
    gone(pids)


def dies_of_many(path, number):
    with Path(path).open("a") as log:
        print(number, os.getpid(), file=log)
    time.sleep(0.002)
    return number


def test_killed_slots_fail_at_most_the_calls_that_they_were_at(tmp_path):
    path = tmp_path / "log"
    with sf.Executor(2) as executor:
        futures = [executor.submit(dies_of_many, path, number) for number in range(2000)]
        kills = 0
        for future in futures[100::400]:
            concurrent.futures.wait([future], LONG_S)
            pid = int(path.read_text().splitlines()[-1].split()[1])
            try:
                os.kill(pid, signal.SIGKILL)
                kills += 1
            except ProcessLookupError:
                pass
        failed = [future for future in futures if future.exception(LONG_S)]
        assert len(failed) <= kills
        assert all(future.exception().kind == "ProcessLost" for future in failed)
        assert [future.result() for future in futures if future not in failed] == [
            number for number, future in enumerate(futures) if future not in failed
        ]
    begun = [int(line.split()[0]) for line in path.read_text().splitlines()]
    assert len(begun) == len(set(begun))
    assert set(range(2000)) - set(begun) <= {futures.index(future) for future in failed}  # killed before it wrote


def test_ctrl_c_in_a_with_block_ends_all_calls_at_once(tmp_path):
    process = program(
        f"""
        import os, pathlib, time
        def long(number):
            pathlib.Path({str(tmp_path)!r}, str(os.getpid())).touch()
            time.sleep(1000)
        with sf.Executor(2) as executor:
            futures = [executor.submit(long, number) for number in range(10)]
            try:
                futures[0].result()
            finally:
                print("interrupted", flush=True)
        """,
        wait=False,
    )
    end_s = time.monotonic() + LONG_S
    while len(pids := [int(path.name) for path in tmp_path.iterdir()]) < 2:
        assert time.monotonic() < end_s
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=LONG_S)
    assert out == "interrupted\n"
    assert "KeyboardInterrupt" in err.splitlines()[-1]
    gone(pids)


def test_calls_end_with_a_user_that_is_killed_after_it_has_shut_down(tmp_path):
    process = program(
        f"""
        import os, pathlib, time
        def long(number):
            pathlib.Path({str(tmp_path)!r}, str(os.getpid())).touch()
            time.sleep(1000)
        executor = sf.Executor(1)
        executor.submit(long, 1)
        executor.shutdown()
        """,
        wait=False,
    )
    end_s = time.monotonic() + LONG_S
    while not (pids := [int(path.name) for path in tmp_path.iterdir()]):
        assert time.monotonic() < end_s
        time.sleep(0.02)
    time.sleep(0.1)  # not needed: that it has said that it ends makes the test harder
    process.kill()
    process.wait()
    gone(pids)
