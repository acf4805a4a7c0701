"""Whatever comes in whatever order, every call begins at most once, and its future ends as the call did."""

import concurrent.futures
import os
import random
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

import sweepfleet as sf

LONG_S = 120
KINDS = {"quick": 60, "sleeps": 6, "raises": 6, "exits": 1, "waits": 2, "large": 3, "prints": 2}


def call(folder, number, kind, size):
    with Path(folder, "begun").open("ab", buffering=0) as log:  # one write, whole also beside others
        log.write(b"%d\n" % number)
    if kind == "sleeps":
        time.sleep(size / 2000)
    elif kind == "raises":
        raise ArithmeticError(number)
    elif kind == "exits":
        os._exit(number % 7)
    elif kind == "waits":  # for a call that is submitted later
        end_s = time.monotonic() + LONG_S
        while not Path(folder, f"after {number}").exists():
            assert time.monotonic() < end_s
            time.sleep(0.002)
    elif kind == "large":
        return number, bytes(size * 10_000)
    return number, None


def opens(folder, number):
    Path(folder, f"after {number}").touch()


@pytest.mark.parametrize("seed", range(2))
def test_every_future_ends_right_and_no_call_begins_twice(tmp_path, seed):
    drawn = random.Random(seed)
    slots, submitters, count = drawn.choice([2, 3]), 3, 300
    futures: dict[int, tuple[str, concurrent.futures.Future]] = {}
    one_waits = threading.Semaphore(slots - 1)  # there is a free slot, always
    executor = sf.Executor(slots)

    def submit(plan):
        for number, kind, size, cancels in plan:
            if kind == "waits":
                one_waits.acquire()
            future = executor.submit(call, str(tmp_path), number, kind, size)
            futures[number] = kind, future
            if cancels:
                future.cancel()
            if kind == "waits":
                list(executor.map(abs, range(size)))
                executor.submit(opens, str(tmp_path), number).result(LONG_S)
                concurrent.futures.wait([future], LONG_S)
                one_waits.release()

    threads = []
    for which in range(submitters):
        numbers = range(which * count, (which + 1) * count)
        kinds = drawn.choices(list(KINDS), list(KINDS.values()), k=count)
        plan = [
            (n, kind, drawn.randrange(1, 100), drawn.random() < 0.1) for n, kind in zip(numbers, kinds, strict=True)
        ]
        threads.append(threading.Thread(target=submit, args=(plan,), daemon=True))
        threads[-1].start()
    for thread in threads:
        thread.join(2 * LONG_S)
        assert not thread.is_alive(), repr(executor)
    done, left = concurrent.futures.wait([future for _, future in futures.values()], LONG_S)
    assert not left, repr(executor)
    assert len(done) == submitters * count
    executor.shutdown()

    begun = Counter(map(int, (tmp_path / "begun").read_text().split()))
    assert set(begun.values()) == {1}
    for number, (kind, future) in futures.items():
        if future.cancelled():
            assert number not in begun
        elif kind == "raises":
            assert future.exception().args == (number,)
        elif kind == "exits":
            assert future.exception().kind == "ProcessExit"
        else:
            assert future.result()[0] == number
            assert number in begun
