"""The process above a runner child: when the child or its owner ends, it ends all that points have started.

A point may start a process in a session of its own, or a daemon that nobody waits for: the child's process group does
not have them. On Linux such orphans come to the supervisor, which is their subreaper, and end with the child. On
other systems those end that the child's process group has, and those below the child at the time it is killed.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import select
import signal
import struct
import sys
import time
import traceback
from pathlib import Path

ENDED = struct.Struct("<i")  # a wait status, or less than 0: the error for which the child never began
_SET_DEATH_SIGNAL, _SET_SUBREAPER = 1, 36  # prctl(2)
LEAVE_S = 3.0  # for killed processes to end: one that waits for a dead disk does not
_LOOK_S = 0.002


def supervise(life_fd: int, *fds: int) -> None:
    """Return in a forked child; this process supervises it and never returns.

    Args:
        life_fd: a socket. The owner asks for the end by a byte, or by its own end, however that came about; it is
            told the child's wait status, an `ENDED`, once nothing of the child is left.
        fds: what the child alone is to hold.
    """
    adopts = _prctl(_SET_SUBREAPER, 1)
    supervisor = os.getpid()
    try:
        child = os.fork()
    except OSError as error:  # too little memory, or too many processes
        os.write(life_fd, ENDED.pack(-(error.errno or 0)))
        os._exit(1)
    if child == 0:
        os.setpgid(0, 0)  # a kill then reaches all that a point started, and Ctrl-C reaches none
        os.close(life_fd)
        _prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)
        if os.getppid() != supervisor:
            os._exit(1)
        return
    try:
        with contextlib.suppress(OSError):  # the child has done it
            os.setpgid(child, child)
        for fd in fds:
            os.close(fd)
        status = _watch(child, life_fd, _wakes(), adopts=adopts)
        with contextlib.suppress(OSError):  # nobody is there any more
            os.write(life_fd, ENDED.pack(status))
    except BaseException:  # noqa: BLE001 - where points print, there is room for it
        traceback.print_exc()
    finally:
        os._exit(0)  # all that is buffered belongs to the child, which continues with it


def _wakes() -> int:
    """A file descriptor to read from for each process below that ends, and for SIGTERM.

    A target that a template has imported may have changed how signals are met.
    """
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    return wake_read


def _watch(child: int, life_fd: int, wake_fd: int, *, adopts: bool) -> int:
    """Wait for the child's end, or end it; returns its wait status when all its processes are gone."""
    poll = select.poll()
    poll.register(life_fd, select.POLLIN)
    poll.register(wake_fd, select.POLLIN)
    below: set[int] = set()
    while not _reap_others(child):  # it may have ended before this began
        woken = [fd for fd, _ in poll.poll()]
        if life_fd in woken or signal.SIGTERM in os.read(wake_fd, 4096):
            below = set() if adopts else _below(child)
            os.kill(child, signal.SIGKILL)
            poll.unregister(life_fd)
            _wait_for(child)
    # Its group's number cannot have been given to anybody else before it is waited for.
    for kill, pid in ((os.killpg, child), *((os.kill, each) for each in below)):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            kill(pid, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    _end_orphans()
    return status


def _wait_for(child: int) -> None:
    end_s = time.monotonic() + LEAVE_S
    while os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None and time.monotonic() < end_s:
        time.sleep(_LOOK_S)


def _reap_others(child: int) -> bool:
    """Reap orphans that have ended; returns whether the child has ended, too."""
    while (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
        if ended.si_pid == child:
            return True
        os.waitpid(ended.si_pid, 0)
    return False


def _end_orphans() -> None:
    """Kill all orphans, and those that then follow, until none is left."""
    end_s = time.monotonic() + LEAVE_S
    while time.monotonic() < end_s:
        for pid in _children():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        try:
            ended, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not ended:
            time.sleep(_LOOK_S)


def _children() -> list[int]:
    with contextlib.suppress(OSError):
        return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]
    import psutil  # which looks at every process that there is

    return [process.pid for process in psutil.Process().children()]


def _below(pid: int) -> set[int]:
    import psutil

    try:
        return {process.pid for process in psutil.Process(pid).children(recursive=True)}
    except psutil.NoSuchProcess:
        return set()


def _prctl(option: int, value: int) -> bool:
    if sys.platform != "linux":
        return False
    with contextlib.suppress(OSError, AttributeError):
        return bool(_libc().prctl(option, value, 0, 0, 0) == 0)
    return False


@functools.cache  # a template's forks find it open
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)
