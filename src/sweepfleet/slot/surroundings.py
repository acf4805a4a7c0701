"""A point's surroundings, restored after each point: folder, umask, signals, module path, standard streams.

A target's own changes while it is imported stay: they are what every point finds. `os.environ`, the state of random
generators and module globals are shared by the points of one child, as docs/grid.md says.
"""

from __future__ import annotations

# `signal` makes enums of its answers, which takes ten times as long.
import _signal  # type: ignore[import-not-found]
import contextlib
import faulthandler
import fcntl
import io
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# How long points may go on before all is looked at, whoever changed it: C code tells nobody. The folder, which native
# solvers change, is looked at sooner at first, and after each point once C code was seen to change it. Looking takes
# some 20 and 2 µs; after a point of some milliseconds, which leaves other data in the processor's caches, 150 and 30.
LOOK_EVERY_S, FOLDER_FIRST_S = 0.1, 0.01
# What changes the surroundings, when Python code does it. A call is noted, and the point is cleaned up after.
NOTED: dict[Any, tuple[str, ...]] = {
    os: ("chdir", "fchdir", "umask", "close", "closerange", "dup2", "set_blocking"),
    signal: ("signal", "siginterrupt", "set_wakeup_fd", "setitimer", "alarm", "pthread_sigmask"),
    fcntl: ("fcntl", "ioctl"),
}
STREAMS = ("stdin", "stdout", "stderr")
_SIGNALS = tuple(number for number in range(1, 32) if number not in (signal.SIGKILL, signal.SIGSTOP))
_TIMERS = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)


def start_folder(folder: str, root: str) -> str:
    """Where a target starts: the grid file's folder, or the project's root where a release does not have that."""
    return folder if Path(folder).is_dir() else root


@contextlib.contextmanager
def starting_in(folder: str) -> Iterator[None]:
    """Context in which `folder` is the working folder; other changes are undone, too."""
    here = Surroundings()
    os.chdir(folder)
    try:
        yield
    finally:
        here.restore_all()
        here.close()


class Surroundings:
    """The surroundings at the time of creation, after the target's import."""

    def __init__(self, *, fault_log: int | None = None) -> None:
        """Remember them, and note from now on when Python code changes them.

        Args:
            fault_log: where faulthandler writes, if it is enabled here and for SIGUSR1: its handlers are C's.
        """
        self._fault_log = fault_log
        self._path_list, self._path = sys.path, list(sys.path)
        self._streams = [getattr(sys, name) for name in STREAMS]
        self._originals = [getattr(sys, f"__{name}__") for name in STREAMS]
        self._folder = os.getcwd()  # noqa: PTH109 - as text
        self._folder_bytes = os.fsencode(self._folder)
        self._folder_id = _identity(os.stat("."))  # noqa: PTH116
        self._folder_fd = _kept(os.open(".", os.O_RDONLY | os.O_CLOEXEC))
        self._umask = os.umask(0)
        os.umask(self._umask)
        self._handlers = _handlers()
        self._mask = _signal.pthread_sigmask(_signal.SIG_BLOCK, ())
        self._wakeup_fd = signal.set_wakeup_fd(-1)
        signal.set_wakeup_fd(self._wakeup_fd)
        self._timers = [timer for timer in _TIMERS if not signal.getitimer(timer)[0]]
        self._files = [_File(fd) for fd in range(3) if _is_open(fd)]
        self._touched = False
        self._look_s = self._folder_s = 0.0
        self._folder_pause_s = FOLDER_FIRST_S
        self._noting = [_Noting(module, name, self._touch) for module, names in NOTED.items() for name in names]

    def _touch(self) -> None:
        self._touched = True

    def restore(self, now_s: float) -> None:
        """Restore what the point that ended at `now_s` has changed; almost free where it changed nothing."""
        if (
            self._touched
            or now_s > self._look_s
            or sys.path is not self._path_list
            or sys.path != self._path
            or sys.stdout is not self._streams[1]
            or sys.stderr is not self._streams[2]
            or sys.stdin is not self._streams[0]
        ):
            self.restore_all()
            self._look_s = now_s + LOOK_EVERY_S
        elif now_s > self._folder_s:
            with contextlib.suppress(OSError):
                self._restore_folder()
            self._folder_s = now_s + self._folder_pause_s
            self._folder_pause_s = min(LOOK_EVERY_S, 2 * self._folder_pause_s)

    def restore_all(self) -> None:
        """Check everything, and restore what has changed."""
        for restore in (self._restore_folder, self._restore_signals, self._restore_files):
            with contextlib.suppress(OSError, ValueError):  # the rest is put back all the same
                restore()
        os.umask(self._umask)
        sys.path = self._path_list
        if sys.path != self._path:
            sys.path[:] = self._path
        for number, name in enumerate(STREAMS):
            _restore_stream(f"__{name}__", self._originals, number)
            _restore_stream(name, self._streams, number)
        self._touched = False

    def close(self) -> None:
        """Stop watching, and free the descriptors."""
        for each in self._noting:
            each.end()
        for fd in (self._folder_fd, *(file.kept for file in self._files)):
            with contextlib.suppress(OSError):
                os.close(fd)

    def _restore_folder(self) -> None:
        with contextlib.suppress(FileNotFoundError):  # it may be a folder that was removed
            if os.getcwdb() == self._folder_bytes:  # noqa: PTH109 - takes half as long as `stat`
                return
        if _identity(os.stat(".")) == self._folder_id:  # noqa: PTH116 - it has another name now
            return
        if not self._touched:
            self._folder_pause_s = 0.0
        with contextlib.suppress(OSError):
            if _identity(os.fstat(self._folder_fd)) == self._folder_id:  # or a point has closed it
                os.fchdir(self._folder_fd)
                return
        os.chdir(self._folder)

    def _restore_signals(self) -> None:
        if (now := _handlers()) != self._handlers:
            for number, before, found in zip(_SIGNALS, self._handlers, now, strict=True):
                if before is not found and before is not None:  # None: set by C code, and cannot be read
                    signal.signal(number, before)
            self._restore_faults()
        _signal.pthread_sigmask(_signal.SIG_SETMASK, self._mask)
        if self._touched:
            for timer in self._timers:
                signal.setitimer(timer, 0)
            signal.set_wakeup_fd(self._wakeup_fd)

    def _restore_faults(self) -> None:
        """Install faulthandler's handlers again where a point has replaced them, which Python does not notice."""
        if self._fault_log is not None:
            faulthandler.disable()
            faulthandler.unregister(signal.SIGUSR1)
            faulthandler.enable(self._fault_log)
            faulthandler.register(signal.SIGUSR1, self._fault_log)

    def _restore_files(self) -> None:
        for file in self._files:
            file.restore()


class _File:
    """One of the standard file descriptors, with a second one for the same open file."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.kept = _kept(os.dup(fd))
        self._id = _identity(os.fstat(fd))
        self._flags = fcntl.fcntl(fd, fcntl.F_GETFL)

    def restore(self) -> None:
        """Put the open file back behind the descriptor, and its flags, O_NONBLOCK among them."""
        found = None
        with contextlib.suppress(OSError):  # closed
            found = _identity(os.fstat(self.fd))
        if found != self._id:
            if _identity(os.fstat(self.kept)) != self._id:  # a point has closed this one, too
                return
            os.dup2(self.kept, self.fd)
        if fcntl.fcntl(self.fd, fcntl.F_GETFL) != self._flags:
            fcntl.fcntl(self.fd, fcntl.F_SETFL, self._flags)


class _Noting:
    """Replaces a function of a module, and notes when it is called.

    An object and no function: a built-in function that is kept in a class does not become a method, either.
    """

    def __init__(self, module: Any, name: str, note: Callable[[], None]) -> None:
        self._where, self._name, self._note = module, name, note
        self.__wrapped__ = getattr(module, name)
        self.__module__, self.__doc__ = module.__name__, self.__wrapped__.__doc__
        setattr(module, name, self)
        self._is_supported = [kind for kind in _supports() if self.__wrapped__ in kind]
        for kind in self._is_supported:
            kind.add(self)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self._note()
        return self.__wrapped__(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(object.__getattribute__(self, "__wrapped__"), name)

    def __reduce__(self) -> str:
        return self._name

    def end(self) -> None:
        """Put the function itself back."""
        setattr(self._where, self._name, self.__wrapped__)
        for kind in self._is_supported:
            kind.discard(self)


def _supports() -> tuple[set[Any], ...]:
    return (os.supports_fd, os.supports_dir_fd, os.supports_follow_symlinks)


def _handlers() -> list[Any]:
    return list(map(_signal.getsignal, _SIGNALS))


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def _is_open(fd: int) -> bool:
    try:
        fcntl.fcntl(fd, fcntl.F_GETFD)
    except OSError:
        return False
    return True


def _kept(fd: int) -> int:
    """A duplicate with a high number, safe from code that closes 0, 1 and 2 and opens others."""
    with contextlib.suppress(OSError):
        high = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 64)
        os.close(fd)
        return high
    return fd


def _restore_stream(name: str, before: list[Any], number: int) -> None:
    stream = before[number]
    if isinstance(stream, io.TextIOBase) and stream.closed:
        mode = "r" if number == 0 else "w"
        stream = before[number] = open(  # noqa: SIM115 - it stays open, and the descriptor has no path
            number, mode, encoding=stream.encoding, errors=stream.errors, closefd=False
        )
    if getattr(sys, name) is not stream:
        setattr(sys, name, stream)
