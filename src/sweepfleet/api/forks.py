"""The ends of pipes and sockets to drivers, which no fork of this process may hold.

A driver learns from its end that its user is gone. A copy of the user's process, made by fork(2) as multiprocessing
does, would keep that end open.
"""

from __future__ import annotations

import os
import threading

# To be held while a driver is started: a fork meanwhile would have ends that are not in the set yet, and those of
# Popen's own pipe, for whose end it waits.
starting = threading.Lock()
_ends: set[int] = set()


def keep_here(*ends: int) -> None:
    """Let no fork of this process have these file descriptors; the caller holds `starting`."""
    _ends.update(ends)


def forget(*ends: int) -> None:
    """Stop that, before they are closed: their numbers may be others' then."""
    _ends.difference_update(ends)


def _after_fork() -> None:
    starting.release()
    # Replaced and not closed: objects of this process have the numbers, and locks that no thread here would release.
    nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for each in _ends:
        os.dup2(nothing, each, inheritable=False)
    os.close(nothing)
    _ends.clear()


os.register_at_fork(before=starting.acquire, after_in_parent=starting.release, after_in_child=_after_fork)
