"""Programs that tests start: none outlives its test, and none that failed is in a later one's way."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

Started = TypeVar("Started", bound=subprocess.Popen[Any])
_active: set[subprocess.Popen[Any]] = set()  # that nobody has seen end


def ends_with_test(process: Started) -> Started:
    """The same program, which `ended_afterwards` ends if nobody else does."""
    _active.difference_update([each for each in list(_active) if each.returncode is not None])
    _active.add(process)
    return process


@contextmanager
def ended_afterwards() -> Iterator[None]:
    """What is started within it and nobody waits for, as by a test that fails, is killed then and leaves nothing."""
    before = set(_active)
    try:
        yield
    finally:
        for process in _active - before:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    with suppress(OSError):  # what it was to be told goes nowhere
                        stream.close()
        _active.intersection_update(before)
