"""The errors of calls."""

from __future__ import annotations

from concurrent.futures import BrokenExecutor

from sweepfleet.grid.errors import SweepfleetError, UsageError
from sweepfleet.slot.calls.batch import Failure


class CallError(SweepfleetError):
    """A call of an `Executor` has no result and raised nothing: its process ended, or it used more than it may.

    `kind` is `ProcessExit`, `Crash`, `ProcessLost`, `OutOfMemory`, `MemoryLimit`, `Timeout`, or `Unreadable` for what
    came back and could not be unpickled here. A timeout is a TimeoutError, too, and the two about memory are a
    MemoryError.

    Examples:
        >>> import sweepfleet as sf
        >>> import os, time
        >>> with sf.Executor(1, timeout="1s") as executor:
        ...     for call in ((os._exit, 3), (time.sleep, 60)):
        ...         print(executor.submit(*call).exception())
        posix:_exit: The call's process ended with exit code 3.
        time:sleep: The call took longer than its timeout of 1 s.
    """

    def __init__(self, message: str, kind: str = "") -> None:
        super().__init__(message)
        self.kind = kind


class CallTimeoutError(CallError, TimeoutError):
    """A call took longer than the Executor's `timeout`."""


class CallMemoryError(CallError, MemoryError):
    """A call used more than the Executor's `memory`, or the machine ran out of it."""


class ExecutorBrokenError(SweepfleetError, BrokenExecutor):
    """An Executor cannot execute calls any more."""


class ArgumentsError(UsageError, ValueError):
    """An Executor's arguments are wrong."""


_KINDS = {"Timeout": CallTimeoutError, "MemoryLimit": CallMemoryError, "OutOfMemory": CallMemoryError}


def error_of(failure: Failure, function: str) -> CallError:
    """The error for a call that failed, of the function with this name."""
    return _KINDS.get(failure.kind, CallError)(f"{function}: {failure.text}", failure.kind)
