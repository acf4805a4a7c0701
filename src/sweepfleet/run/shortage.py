"""Detects too little memory, or too few threads or files, to run a sweep, and says so in one line."""

from __future__ import annotations

import contextlib
import errno
import resource
from collections.abc import Iterator
from pathlib import Path

from sweepfleet.grid.errors import SweepfleetError
from sweepfleet.grid.wording import counted

_SHORT = (errno.ENOMEM, errno.EAGAIN, errno.EMFILE, errno.ENFILE)
# Messages of libraries and of Python, where there is no errno.
_SAID = (
    *("can't start new thread", "cannot allocate memory", "failed to map segment", "out of memory"),
    "error return without exception set",  # a SystemError of C code that forgot to say it
)


REMEDY = (
    "Raise the limits, free memory, or run fewer points at once: --workers 1. Finished points are kept; the same "
    "command resumes."
)


# Of address space, beside what is there: of the driver with dask, and for each slot (shared memory, and stacks and
# malloc arenas of two threads). Below it a library may end the process, or a thread that cannot start be waited for.
DRIVER_BYTES, SLOT_BYTES = 550_000_000, 208_000_000


class ShortageError(SweepfleetError):
    """The system gives this process no more memory, threads or files."""

    at_once = True


@contextlib.contextmanager
def shortages_explained() -> Iterator[None]:
    """Raise ShortageError for errors that mean a lack of memory, threads or files."""
    try:
        yield
    except (MemoryError, OSError, RuntimeError, ImportError, SystemError) as error:
        found = next((one for one in _chain(error) if _is_shortage(one)), None)
        if found is None:
            raise
        said = str(found) or type(found).__name__
        raise ShortageError(
            f"The system's limits are too low to run a sweep: {said[:200]}.{_limits()} {REMEDY}"
        ) from error


def check_room(slots: int) -> None:
    """Raise ShortageError where this process's address space limit is too low for this number of slots."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return
    taken = 0
    with contextlib.suppress(OSError, ValueError):  # only on Linux
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    needed = taken + DRIVER_BYTES + slots * SLOT_BYTES
    if limit < needed:
        need = f"{counted(slots, 'slot')} {'needs' if slots == 1 else 'need'}"
        raise ShortageError(
            f"The system's limits are too low to run a sweep: {need} an address space of "
            f"{needed / 1e9:.1f} GB (ulimit -v {needed // 1024 + 1}).{_limits()} {REMEDY}"
        )


def stalled(bundles: int) -> ShortageError:
    """The error for bundles in flight that no slot runs."""
    return ShortageError(
        f"Work was sent ({counted(bundles, 'bundle')}) and no slot is running it: dask has lost it, "
        f"which happens when this process has too little memory or too few threads.{_limits()} {REMEDY}"
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def _is_shortage(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in _SHORT):
        return True
    return isinstance(error, RuntimeError | ImportError | OSError | SystemError) and any(
        words in str(error).lower() for words in _SAID
    )


def _limits() -> str:
    """The limits of this process, as a shell shows and sets them."""
    found = []
    for name, limit, unit in (("-v", resource.RLIMIT_AS, 1024), ("-n", resource.RLIMIT_NOFILE, 1)):
        soft, _ = resource.getrlimit(limit)
        if soft != resource.RLIM_INFINITY:
            found.append(f"ulimit {name} {soft // unit}")
    return f" Its limits: {', '.join(found)}." if found else ""
