"""Runs a command with the recorder injected, and watches from outside how its processes end and use their cores."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.timeline.events import Process, parse, processes

INJECTED = Path(__file__).with_name("injected")
VARIABLE = "SWEEPFLEET_TIMELINE"
LOOK_S = 0.02  # between two looks at the processes: some 0.02 ms of a core each
NEWBORN = ("begin", "forked", "started")


@dataclass(frozen=True, slots=True)
class Recording:
    """One command, run."""

    command: Sequence[str]
    code: int
    wall_s: float
    processes: list[Process]
    events: int


@dataclass(slots=True)
class _Watch:
    """Sees new processes in the recorder's file, then how much CPU time they use and when they end."""

    file: Path
    ends: dict[int, float] = field(default_factory=dict)
    samples: list[tuple[float, int, float]] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)
    _fds: dict[int, int] = field(default_factory=dict)  # pid by pidfd
    _seen: set[int] = field(default_factory=set)
    _read: int = 0

    def run(self) -> None:
        """Watch until `over` is set and nothing lives any more that was seen."""
        poll = select.poll()
        end_s = None
        while end_s is None or (self._fds and time.perf_counter() < end_s):
            if self.over.is_set() and end_s is None:
                end_s = time.perf_counter() + 1.0  # what the command leaves behind is shown as living until then
            self._look_for_more(poll)
            for fd, _ in poll.poll(LOOK_S * 1000):
                poll.unregister(fd)
                self.ends[self._fds.pop(fd)] = time.perf_counter()
                os.close(fd)
            for pid in self._fds.values():
                self._sample(pid)
        for fd in self._fds:
            os.close(fd)

    def _look_for_more(self, poll: select.poll) -> None:
        with self.file.open("rb") as file:
            file.seek(self._read)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.decode().splitlines():
            kind, pid, *_, other, _ = line.split("\t")
            if kind in NEWBORN:
                self.add(int(other if kind == "started" else pid), poll)

    def add(self, pid: int, poll: select.poll) -> None:
        """Watch a process from now on."""
        if pid in self._seen or not hasattr(os, "pidfd_open"):
            return
        self._seen.add(pid)
        with contextlib.suppress(OSError):  # it has ended and been waited for: that was told by whoever waited
            fd = os.pidfd_open(pid)
            self._fds[fd] = pid
            poll.register(fd, select.POLLIN)

    def _sample(self, pid: int) -> None:
        with contextlib.suppress(OSError, IndexError, ValueError):
            cells = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            self.samples.append(
                (time.perf_counter(), pid, (int(cells[11]) + int(cells[12])) / os.sysconf("SC_CLK_TCK"))
            )


def record(command: Sequence[str], *, env: Mapping[str, str] | None = None, **options: object) -> Recording:
    """Run a command to its end.

    Args:
        command: its words; the first is looked for beside this Python, too.
        env: its variables; by default this process's.
        options: of `subprocess.Popen`, such as where its output goes.

    Raises:
        FileNotFoundError: there is no such command.
    """
    with tempfile.TemporaryDirectory(prefix="timeline-") as folder:
        file = Path(folder, "events")
        file.touch()
        watch = _Watch(file)
        with _watching(watch):
            begin_s = time.perf_counter()
            process = subprocess.Popen(
                list(command), env=_environment(file, os.environ if env is None else env), **options
            )  # type: ignore[call-overload]
            code = _wait(process)
            end_s = time.perf_counter()
        watch.ends.setdefault(process.pid, end_s)
        events = parse(file.read_text(errors="replace"))
    found = processes(events, root=process.pid, begin_s=begin_s, ends=watch.ends, samples=watch.samples)
    return Recording(command, code, end_s - begin_s, found, len(events))


def _environment(file: Path, env: Mapping[str, str]) -> dict[str, str]:
    more = {VARIABLE: str(file)}
    for name, first, default in (
        ("PYTHONPATH", INJECTED, ""),
        ("PATH", Path(sys.executable).parent, os.defpath),
    ):
        after = env.get(name, default)
        more[name] = os.pathsep.join([str(first), after]) if after else str(first)
    return {**env, **more}


def _wait(process: subprocess.Popen[bytes]) -> int:
    """Its exit code; Ctrl-C reaches it, too, and it is for it to say what that means."""
    while True:
        with contextlib.suppress(KeyboardInterrupt):
            return process.wait()


@contextlib.contextmanager
def _watching(watch: _Watch) -> Iterator[None]:
    thread = threading.Thread(target=watch.run)
    thread.start()
    try:
        yield
    finally:
        watch.over.set()
        thread.join()
