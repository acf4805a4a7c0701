"""A call that takes long holds back none of those after it: they are given back while it runs."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import cloudpickle

from sweepfleet.slot.calls.batch import Call, Outcome
from sweepfleet.slot.calls.pickling import dumps, loads
from sweepfleet.slot.calls.pool import Pool
from sweepfleet.slot.calls.spec import Spec

WAIT_S = 60.0


def wait_for(path: str, number: int) -> int:
    """Return once another call has written the file, or at once where there is none to wait for."""
    import time
    from pathlib import Path

    while path and not Path(path).exists():
        time.sleep(0.01)
    return number


def by_value(function: object) -> bytes:
    """A pickle for a process that does not have this module."""
    module = sys.modules[__name__]
    cloudpickle.register_pickle_by_value(module)
    try:
        return bytes(cloudpickle.dumps(function))
    finally:
        cloudpickle.unregister_pickle_by_value(module)


def test_calls_after_one_that_takes_long_are_given_back_before_it_ends(tmp_path: Path) -> None:
    """Else a call that waits for what one of them does would wait for ever, on a machine with free slots."""
    pool = Pool(Spec(folder=str(tmp_path)), slots=1)
    pool.add_function("f", by_value(wait_for))
    gate = tmp_path / "gate"
    outcomes: list[Outcome] = []
    left: list[int] = []
    paths = (str(gate), "", "")
    calls = [Call(index, "f", dumps(((path, index), {}))) for index, path in enumerate(paths)]
    given_back = threading.Event()

    def give_back(back: Sequence[Call]) -> None:
        left.extend(call.index for call in back)
        given_back.set()

    job = threading.Thread(target=pool.execute, args=[calls, outcomes.extend, give_back])
    job.start()
    try:
        assert given_back.wait(WAIT_S)
        assert left == [1, 2]
        assert not outcomes
    finally:
        gate.touch()
        job.join(WAIT_S)
        pool.close()
    assert [(outcome.index, loads(outcome.value)) for outcome in outcomes] == [(0, 0)]  # type: ignore[arg-type]
