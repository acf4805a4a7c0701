"""What the slots of an Executor are."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spec:
    """For all calls of one Executor. It is pickled for dask's workers."""

    cpus: int = 1  # of a call
    memory_bytes: int | None = None  # that a call may use, with all processes that it starts
    timeout_s: float | None = None  # that a call may take
    retries: int = 0  # of a call that raised, or whose process ended
    path: tuple[str, ...] | None = None  # `sys.path` of the calls; None: the one of the slots' machine
    folder: str | None = None  # in which the calls' processes start; None: the one of the slots' process
    initializer: bytes | None = None  # pickled (initializer, initargs), called once in each process
    mailboxes: str | None = None  # the folder of files with results that are not in a ledger yet; None: in memory
