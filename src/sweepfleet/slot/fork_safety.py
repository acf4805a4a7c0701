"""Checks whether a process can be forked after it has imported a target.

A copy made by fork(2) has one thread, whatever the process had, and shares with all other copies what lies in the
kernel: open files, sockets, devices, shared memory. A GPU that was opened before cannot be used in it. So it takes
the place of a process of its own where an import has left nothing of that kind, and where each copy can be given
random state of its own (`slot.entropy`).
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from stat import S_ISCHR

from sweepfleet.slot.entropy import EntropyLook, renew
from sweepfleet.slot.project_files import Names

__all__ = ["ImportWatch", "fork", "renew"]

SETTLES_S = 0.05  # for the kernel to take a thread that has ended off its list
FORKS_S = 5.0  # for a trial copy to end
# Threads of libraries that lock the thread's data around a fork, and work without it in the child:
# jemalloc (pyarrow's and so pandas') has pthread_atfork(3) handlers, background_thread_postfork_child among them.
_KNOW_FORKS = {"jemalloc_bg_thd"}
_NAMELESS = "nameless"
_NAMES = 5  # of one kind are named
_LINUX = sys.platform == "linux"
# null, zero, full, random, urandom, tty (Documentation/admin-guide/devices.txt); terminals are 136 to 143.
_HARMLESS = {(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0)}
_TERMINALS = range(136, 144)
_DELETED = " (deleted)"
_SHARED_AND_WRITTEN = re.compile(rb"\S+ .w.s ")


class ImportWatch:
    """Notes, while a target is imported, why this process should not be forked afterwards."""

    def __init__(self, names: Names | None = None) -> None:
        """Begin to watch. Side effect: see `EntropyLook`; `findings` undoes it.

        Args:
            names: tell which files are the project's; without, those of the working folder's project.
        """
        if not _LINUX:
            return
        self._open = _open_files()
        self._memory = _shared_memory(_maps())
        self._children = _children()
        self._entropy = EntropyLook(names or Names(folder=os.curdir, root=os.curdir))

    def findings(self) -> list[str]:
        """End the watch; the reasons not to fork, one line each. Empty: it is safe.

        Side effect: a trial copy is made, at which some libraries end their threads.
        """
        if not _LINUX:
            return [f"processes are forked on Linux only, and this is {sys.platform}"]
        drawn = self._entropy.end()
        maps = _maps()
        return [
            *_threads(),
            *_files(self._open, maps),
            *_memory(self._memory, maps),
            *_processes(self._children),
            *_timers(),
            *drawn,
        ]


def fork() -> int:
    """`os.fork`, without what Python 3.12 and later say of threads: these are looked at here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def _threads() -> Iterator[str]:
    if problem := _try_fork():
        yield problem
    end_s = time.monotonic() + SETTLES_S
    while (threads := _other_threads()) and time.monotonic() < end_s:
        time.sleep(SETTLES_S / 50)
    if threads:
        names = [name for name in threads.values() if name != _NAMELESS]
        if nameless := len(threads) - len(names):
            names.append(f"{nameless} without a name")
        yield f"threads are running: {_some(names)}. A fork would not have them"


def _other_threads() -> dict[int, str]:
    """The names of threads that prevent a fork, Python's name for its own."""
    pythons = {thread.native_id: thread.name for thread in threading.enumerate()}
    others = [int(number) for number in os.listdir("/proc/self/task") if int(number) != os.getpid()]  # noqa: PTH208
    names = {number: pythons.get(number) or _text(f"/proc/self/task/{number}/comm") for number in others}
    process = _text("/proc/self/comm")  # which a thread has that was given no name
    names = {number: _NAMELESS if name == process else name for number, name in names.items()}
    return {number: name for number, name in names.items() if name and name not in _KNOW_FORKS}


def _try_fork() -> str | None:
    """Fork a child that ends at once: libraries with fork handlers (OpenBLAS) end their threads before it."""
    try:
        pid = fork()
    except OSError as error:
        return f"a fork failed: {error}"
    if pid == 0:
        os._exit(0)
    end_s = time.monotonic() + FORKS_S
    with contextlib.suppress(ChildProcessError):  # the target ignores or awaits the end of all children
        while (ended := os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG)) is None:
            if time.monotonic() > end_s:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                return "a trial fork did not end"
            time.sleep(SETTLES_S / 500)
        if ended.si_status:
            return "a trial fork ended early, by something that the import registered for forks"
    return None


def _open_files() -> dict[int, str]:
    """What is open, by descriptor: a path, or what the kernel calls it (`socket:[123]`)."""
    found = {}
    for number in map(int, os.listdir("/proc/self/fd")):  # noqa: PTH208
        with contextlib.suppress(OSError):  # the list's own
            found[number] = os.readlink(f"/proc/self/fd/{number}")  # noqa: PTH115 - most are not paths
    return found


def _files(before: dict[int, str], maps: bytes) -> Iterator[str]:
    devices: list[str] = []
    files: list[str] = []
    others: list[str] = []
    for fd, name in _open_files().items():
        if before.get(fd) == name:
            continue
        with contextlib.suppress(OSError):
            found = os.fstat(fd)
            if S_ISCHR(found.st_mode):
                if not _is_harmless(found.st_rdev):
                    devices.append(name)
            elif name.startswith("/"):
                files.append(name)
            else:  # socket:[123], anon_inode:[eventpoll]
                others.append(name.removeprefix("anon_inode:").split(":[")[0].strip("[]"))
    if devices:
        yield f"devices are open: {_some(devices)}. A fork cannot use a GPU that was opened before it"
    if files := [_short(name) for name in files if not _is_only_mapped(name, files.count(name), maps)]:
        yield f"files are open: {_some(files)}. Forks would share their positions and locks"
    if others:
        yield f"connections are open: {_some(others)}. Forks would share them"


def _is_only_mapped(name: str, descriptors: int, maps: bytes) -> bool:
    """Whether a file is open only because it is mapped for reading, as `np.load(mmap_mode="r")` does."""
    lines = [line for line in maps.split(b"\n") if line.endswith(b" " + os.fsencode(name))]
    return len(lines) >= descriptors and not any(_SHARED_AND_WRITTEN.match(line) for line in lines)


def _is_harmless(device: int) -> bool:
    major, minor = os.major(device), os.minor(device)
    return (major, minor) in _HARMLESS or major in _TERMINALS


def _maps() -> bytes:
    return Path("/proc/self/maps").read_bytes()  # 2 ms for the thousand lines of a process with scikit-learn


def _shared_memory(maps: bytes) -> dict[str, str]:
    """Names of memory that a fork would share and a separate process would not, and of devices, by inode."""
    found = {}
    for line in maps.split(b"\n"):
        if line.find(b"s ", 20, 40) < 0:
            continue
        _, access, _, device, inode, *rest = os.fsdecode(line).split(maxsplit=5)
        name = rest[0] if rest else ""
        is_device = name.startswith("/dev/") and not name.startswith(("/dev/shm/", "/dev/zero"))  # noqa: S108
        is_our_own = name.endswith(_DELETED) or not name.startswith("/")
        if access[3] == "s" and (is_device or (access[1] == "w" and is_our_own)):
            found[f"{device} {inode}"] = name
    return found


def _memory(before: dict[str, str], maps: bytes) -> Iterator[str]:
    new = [name.removesuffix(_DELETED) for place, name in _shared_memory(maps).items() if place not in before]
    if new:
        names = [_NAMELESS if name == "/dev/zero" else "a lock" if "/sem." in name else name for name in new]
        yield f"memory is shared: {_some(names)}. Forks would write into the same memory"


def _children() -> set[int]:
    found: set[int] = set()
    for task in os.listdir("/proc/self/task"):  # noqa: PTH208
        found.update(map(int, _text(f"/proc/self/task/{task}/children").split()))
    return found


def _processes(before: set[int]) -> Iterator[str]:
    stats = [_text(f"/proc/{pid}/stat") for pid in _children() - before]
    # `123 (sleep) S 1 ...`; Z is one that has ended and was not waited for.
    names = [stat.partition("(")[2].rpartition(")") for stat in stats]
    running = [name for name, _, rest in names if rest and not rest.startswith((" Z", " X"))]
    if running:
        yield f"processes are running: {_some(running)}. A fork would not be their parent"


def _timers() -> Iterator[str]:
    if any(signal.getitimer(timer)[0] for timer in (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)):
        yield "a timer is set. A fork would not have it"


def _text(path: str) -> str:
    with contextlib.suppress(OSError):
        return Path(path).read_text(errors="replace").strip()
    return ""


def _short(path: str) -> str:
    here = os.getcwd() + os.sep  # noqa: PTH109 - as text
    return path.removeprefix(here)


def _some(names: Iterable[str]) -> str:
    """The first few of these, without repeats, and the number of others."""
    unique = list(dict.fromkeys(name[:80] for name in names))
    more = len(unique) - _NAMES
    return ", ".join(unique[:_NAMES]) + (f" and {more} more" if more > 0 else "")
