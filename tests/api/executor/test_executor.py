"""An Executor on this machine: what its calls get, return and raise, and what becomes of the others."""

import asyncio
import concurrent.futures
import os
import signal
import sys
import threading
import time
import traceback
from pathlib import Path

import numpy as np
import pytest

import sweepfleet as sf
from sweepfleet.api.calls import client
from sweepfleet.api.calls.functions import MOST_KEPT
from sweepfleet.slot.fork_safety import fork

LONG_S = 60  # more than any of these takes; a test that waits this long has failed


@pytest.fixture(scope="module")
def executor():
    with sf.Executor(2) as made:
        yield made


def test_every_keyword_is_the_functions(executor):
    def echo(*args, **kwargs):
        return args, kwargs

    keywords = {"self": 1, "fn": 2, "key": 3, "resources": 4, "pure": 5, "retries": 6, "timeout": 7, "workers": 8}
    assert executor.submit(echo, 0, **keywords).result(LONG_S) == ((0,), keywords)


def test_what_cannot_be_imported_travels_and_has_its_variables_as_they_are_now(executor):
    factor = 2

    def scaled(value):
        return value * factor

    assert list(executor.map(scaled, [1, 2])) == [2, 4]
    factor = 3
    assert executor.submit(scaled, 2).result(LONG_S) == 6
    assert executor.submit(lambda: factor).result(LONG_S) == 3


def test_many_functions_are_forgotten_and_come_again(executor):
    def made(number):
        return lambda: number

    functions = [made(number) for number in range(MOST_KEPT + 50)]
    for _ in range(2):
        futures = [executor.submit(each) for each in functions]
        assert [each.result(LONG_S) for each in futures] == list(range(len(functions)))
    assert len(executor._client._functions._known) <= MOST_KEPT + 1


def test_an_exception_has_the_other_processes_traceback_as_its_cause(executor):
    def deep(value):
        raise LookupError(value)  # in the call

    error = executor.submit(deep, 7).exception(LONG_S)
    assert type(error) is LookupError
    assert error.args == (7,)
    text = "".join(traceback.format_exception(error))
    assert "raise LookupError(value)  # in the call" in text
    assert "_outcome" not in text  # nothing of ours


class CodeError(Exception):
    """As many are: its `__init__` takes other arguments than it passes on."""

    def __init__(self, text, *, code):
        super().__init__(f"{code}: {text}")
        self.code = code


def raises_code():
    raise CodeError("unknown", code=404)


def test_an_exception_whose_init_takes_other_arguments_is_the_one_that_was_raised(executor):
    with pytest.raises(CodeError, match=r"^404: unknown$") as caught:
        executor.submit(raises_code).result(LONG_S)
    assert caught.value.code == 404
    assert "raise CodeError" in str(caught.value.__cause__)


class OddError(Exception):
    """That can be pickled, and not unpickled."""

    def __new__(cls, one, two):
        return super().__new__(cls, one, two)

    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


class BreaksHere:
    """That can be unpickled only where it was made."""

    def __init__(self):
        self.pid = os.getpid()

    def __setstate__(self, state):
        if os.getpid() != state["pid"]:
            raise ValueError("not at home")
        self.__dict__.update(state)


def raises_odd():
    raise OddError(1, 2)


def raises_with_a_lock():
    error = ValueError("locked")
    error.lock = threading.Lock()
    raise error


@pytest.mark.parametrize(
    ("function", "arguments", "says"),
    [
        (print, [threading.Lock()], "cannot pickle"),
        (id, [BreaksHere()], "not at home"),
        (threading.Lock, [], "cannot pickle"),
        (BreaksHere, [], "not at home"),
        (raises_odd, [], "1 and 2"),
        (raises_with_a_lock, [], "locked"),
        (sys.exit, ["left"], "left"),
    ],
)
def test_what_cannot_be_sent_fails_its_own_call_alone(executor, function, arguments, says):
    before = executor.submit(os.getpid)
    fails = executor.submit(function, *arguments)
    after = executor.submit(os.getpid)
    assert says in str(fails.exception(LONG_S))
    assert before.result(LONG_S)
    assert after.result(LONG_S)


def test_a_function_that_cannot_be_sent_fails_its_call_and_names_the_variable(executor):
    lock, data = threading.Lock(), bytes(2_000_000)
    with pytest.raises(sf.UsageError, match="because of `lock`"):
        executor.submit(lambda: lock).result(LONG_S)
    with pytest.raises(sf.UsageError, match=r"`data` alone 2\.0 MB; the limit is 1 MB"):
        next(executor.map(lambda _: data, [1]))


def exits():
    os._exit(3)


def kills_itself():
    os.kill(os.getpid(), signal.SIGKILL)


def crashes():
    os.abort()


@pytest.mark.parametrize(
    ("ends", "kind", "says"),
    [
        (exits, "ProcessExit", "ended with exit code 3"),
        (kills_itself, "ProcessLost", "was killed from outside"),
        (crashes, "Crash", "SIGABRT"),
    ],
)
def test_a_call_whose_process_ends_fails_alone(executor, ends, kind, says):
    others = [executor.submit(pow, number, 2) for number in range(20)]
    fails = executor.submit(ends)
    more = executor.map(pow, range(2000), [2] * 2000)
    error = fails.exception(LONG_S)
    assert isinstance(error, sf.CallError)
    assert error.kind == kind
    assert says in str(error)
    assert ends.__name__ in str(error)
    assert [each.result(LONG_S) for each in others] == [number**2 for number in range(20)]
    assert list(more) == [number**2 for number in range(2000)]


def ends_in_the_middle(number):
    if number == 700:
        os._exit(1)
    return number


def test_calls_that_travel_with_one_that_ends_its_process_are_not_lost(executor):
    executor.submit(ends_in_the_middle, 0).result(LONG_S)
    futures = [executor.submit(ends_in_the_middle, number) for number in range(1500)]
    failed = [number for number, each in enumerate(futures) if each.exception(LONG_S)]
    assert failed == [700]
    assert [each.result() for number, each in enumerate(futures) if number != 700] == [
        number for number in range(1500) if number != 700
    ]


def test_limits_end_a_call_and_say_which_it_was():
    def takes(megabytes, seconds):
        block = bytearray(megabytes << 20)
        time.sleep(seconds)
        return len(block)

    with sf.Executor(2, timeout="1.5s", memory="300MB") as executor:
        fits, slow, large = (executor.submit(takes, *each) for each in ((1, 0), (1, LONG_S), (400, LONG_S)))
        with pytest.raises(TimeoutError, match=r"longer than its timeout of 1\.5 s"):
            slow.result(LONG_S)
        with pytest.raises(MemoryError, match="more than its memory of 300 MB"):
            large.result(LONG_S)
        assert fits.result(LONG_S) == 1 << 20
        assert isinstance(slow.exception(), sf.CallError)
        assert executor.submit(takes, 2, 0).result(LONG_S) == 2 << 20


def fails_until_the_third(path, how):
    with Path(path).open("a") as log:
        log.write("x")
    if Path(path).stat().st_size < 3:
        if how == "exit":
            os._exit(1)
        raise ValueError("early")
    return "third"


def test_a_call_is_tried_again_as_often_as_was_said(tmp_path):
    with sf.Executor(1, retries=2) as executor:
        for how in ("raise", "exit"):
            assert executor.submit(fails_until_the_third, tmp_path / how, how).result(LONG_S) == "third"
    with sf.Executor(1, retries=1) as executor:
        assert isinstance(executor.submit(fails_until_the_third, tmp_path / "once", "raise").exception(), ValueError)
        fails = executor.submit(fails_until_the_third, tmp_path / "exits", "exit")
        assert fails.exception(LONG_S).kind == "ProcessExit"
    assert [(tmp_path / name).stat().st_size for name in ("raise", "exit", "once", "exits")] == [3, 3, 2, 2]


def waits_for(path, number):
    end_s = time.monotonic() + LONG_S  # a test that has failed does not hold up the next ones
    while not Path(path).exists() and time.monotonic() < end_s:
        time.sleep(0.01)
    return number


def test_a_call_that_waits_for_the_next_one_of_its_bundle_holds_up_nothing(executor, tmp_path):
    list(executor.map(waits_for, [os.devnull] * 500, range(500)))  # quick ones: the next ones travel together
    gate, path = tmp_path / "gate", tmp_path / "path"
    busy = [executor.submit(waits_for, gate, number) for number in range(4)]  # all slots, and what is sent ahead
    first = executor.submit(waits_for, path, 1)
    second = executor.submit(Path.touch, path)
    others = [executor.submit(waits_for, os.devnull, number) for number in range(1000)]
    gate.touch()
    second.result(LONG_S)
    assert first.result(LONG_S) == 1
    assert [each.result(LONG_S) for each in others] == list(range(1000))
    assert [each.result(LONG_S) for each in busy] == list(range(4))


def test_cancel_tells_the_truth(executor, tmp_path):
    path = tmp_path / "go"

    def waits(number):  # a function of which nothing is known
        return waits_for(path, number)

    running = [executor.submit(waits, number) for number in range(2)]
    waiting = executor.submit(waits, 2)
    assert repr(executor) == "<sweepfleet.Executor: 2 slots, 2 calls sent, 1 waiting>"
    called = []
    waiting.add_done_callback(called.append)
    assert running[0].running()
    assert not running[0].cancel()
    assert not waiting.running()
    assert waiting.cancel()
    assert waiting.cancelled()
    path.touch()
    assert [each.result(LONG_S) for each in running] == [0, 1]
    assert called == [waiting]


def test_map_takes_from_its_iterables_what_its_buffer_has_room_for(executor):
    taken = []

    def numbers():
        for number in range(10):
            taken.append(number)
            yield number

    results = executor.map(abs, numbers(), buffersize=3)
    assert taken == [0, 1, 2]
    assert next(results) == 0
    assert taken == [0, 1, 2, 3]
    assert list(results) == list(range(1, 10))
    for odd, error in ((0, ValueError), (2.0, TypeError)):
        with pytest.raises(error, match="buffersize"):
            executor.map(abs, [1], buffersize=odd)


def test_a_future_can_be_awaited(executor):
    async def both():
        futures = [asyncio.wrap_future(executor.submit(pow, 2, number)) for number in (3, 4)]
        return await asyncio.gather(*futures)

    assert asyncio.run(both()) == [8, 16]


def test_large_arrays_come_without_a_copy_and_can_be_written_to(executor):
    def turned(array):
        array += 1  # in place: it is the call's own
        return array[::-1], array

    given = np.arange(3_000_000.0)
    backwards, same = executor.submit(turned, given).result(LONG_S)
    assert given[0] == 0
    np.testing.assert_array_equal(same, given + 1)
    np.testing.assert_array_equal(backwards, given[::-1] + 1)
    assert not same.flags.owndata
    assert same.flags.writeable
    assert same.flags.aligned
    same[0] = 5


def test_what_calls_print_is_seen_here(executor, capfd):
    executor.submit(print, "from a call", flush=True).result(LONG_S)
    executor.submit(os.write, 2, b"of its system\n").result(LONG_S)
    out, err = capfd.readouterr()
    if not out:  # started by another test, whose output is its own
        with sf.Executor(1) as another:
            another.submit(print, "from a call").result(LONG_S)
            another.submit(os.write, 2, b"of its system\n").result(LONG_S)
        out, err = capfd.readouterr()
    assert out == "from a call\n"
    assert err == "of its system\n"


def starts_another():
    sf.Executor(1).submit(abs, 1).result()


def starts_a_sweep():
    sf.sweep(abs, {"x": [1]})


@pytest.mark.parametrize("starts", [starts_another, starts_a_sweep])
def test_a_call_cannot_start_an_executor_or_a_sweep(executor, starts):
    with pytest.raises(sf.UsageError, match="Start it"):
        executor.submit(starts).result(LONG_S)


def test_arguments_that_cannot_be_used_are_refused_with_all_problems():
    with pytest.raises(sf.UsageError) as refusal:
        sf.Executor(0, cpus=1.5, memory="much", timeout=-1, retries=-1, run="../elsewhere")
    for name in ("max_workers", "cpus", "memory", "timeout", "retries", "run"):
        assert f"{name} " in str(refusal.value)
    with pytest.raises(TypeError, match="initializer must be a callable"):
        sf.Executor(initializer=3)
    with pytest.raises(sf.UsageError, match="initializer cannot be sent"):
        sf.Executor(initializer=print, initargs=(threading.Lock(),))


def test_numerical_libraries_have_the_cores_of_a_call():
    with sf.Executor(1, cpus=3) as executor:
        assert executor.submit(os.getenv, "OMP_NUM_THREADS").result(LONG_S) == "3"


def raise_it(text):
    raise RuntimeError(text)


def test_an_initializer_that_raises_breaks_the_executor(caplog):
    executor = sf.Executor(2, initializer=raise_it, initargs=("no data",))
    futures = [executor.submit(abs, 1) for _ in range(5)]
    for future in futures:
        with pytest.raises(concurrent.futures.BrokenExecutor, match="no data"):
            future.result(LONG_S)
    with pytest.raises(concurrent.futures.BrokenExecutor, match="no data"):
        executor.submit(abs, 1)
    executor.shutdown()
    assert "RuntimeError: no data" in caplog.text


def test_a_fork_of_this_process_has_no_executor(executor):
    executor.submit(abs, 1).result(LONG_S)
    pid = fork()
    if pid == 0:
        try:
            executor.submit(abs, 1)
        except RuntimeError as error:
            executor.shutdown()
            os._exit(7 if "fork" in str(error) else 1)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    assert executor.submit(abs, -2).result(LONG_S) == 2


def test_forks_of_this_process_end_whatever_its_threads_were_at(executor):
    ends = threading.Event()

    def keeps_busy():
        while not ends.is_set():
            list(executor.map(abs, range(300)))

    busy = threading.Thread(target=keeps_busy)
    busy.start()
    try:
        for _ in range(50):
            pid = fork()
            if pid == 0:
                signal.alarm(LONG_S)  # for a failure to be one
                executor.shutdown()
                client._at_exit()  # as multiprocessing's processes do
                os._exit(0)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    finally:
        ends.set()
        busy.join()


@sf.function(max_workers=1, retries=1)
def power(base, exponent=2):
    return base**exponent, os.getpid()


@sf.function(retries=1, max_workers=1)
def twice(base):
    return 2 * power(base)[0], os.getpid()


@sf.function
def plus_one(value):
    return value + 1


def test_a_function_is_decorated_without_parentheses_too():
    assert [plus_one(1), *plus_one.map([2])] == [2, 3]
    assert repr(plus_one).startswith("<sweepfleet.function() of ")
    with pytest.raises(TypeError, match="a function, and 4 is none"):
        sf.function(cpus=1)(4)


@pytest.mark.parametrize("name", ["../x", "/x", "-x", "a b", "a\nb", "a\0b", "$(x)", "\ud800", "x" * 101, "", 3])
def test_a_run_of_calls_has_a_name_that_a_sweep_may_have(name, tmp_path):
    with pytest.raises(sf.UsageError, match="run is the name of a folder"):
        sf.Executor(1, run=name, runs=tmp_path / "runs")
    assert not list(tmp_path.iterdir())


def test_a_decorated_function_is_called_here_and_elsewhere():
    assert power(3) == power.local(3) == (9, os.getpid())
    results = [*power.map([1, 2]), *power.starmap([(2, 3), [3]]), power.submit(2, exponent=5).result(LONG_S)]
    assert [value for value, _ in results] == [1, 4, 8, 9, 32]
    value, pid = twice.submit(4).result(LONG_S)  # which calls another one, there
    assert value == 32
    assert {pid} == {each for _, each in results} != {os.getpid()}  # one Executor for both
    with pytest.raises(sf.UsageError, match="cpus"):
        sf.function(cpus=0)(abs).submit(1)
