"""Runs a command that must not be killed halfway: signals are passed on to it, and its end is waited for.

The command has a process group of its own. On a terminal that group is made the foreground, as a shell does for its
jobs: Ctrl-C then goes to the command alone. Everywhere else a signal comes to this process alone, which passes it on.
So the command gets each signal once, whoever sent it; Pulumi takes a second one for "terminate at once".
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import stat
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

PASSED_ON = {signal.SIGINT: signal.SIGINT, signal.SIGTERM: signal.SIGTERM, signal.SIGHUP: signal.SIGTERM}
CHUNK_BYTES = 1 << 16
# A terminal that is closed sends SIGHUP to its foreground, and that would end the command at once.
KEEP = ("sh", "-c", 'trap "" HUP; exec "$@"', "keep")


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended; its output where that was asked for."""

    returncode: int
    stdout: str
    stderr: str
    signals: tuple[int, ...]  # that came to this process meanwhile and were passed on


def captured(command: Sequence[str], *, cwd: Path, env: Mapping[str, str]) -> Ended:
    """Run a command to its end and return what it prints; it has no input."""
    with _passing_on() as passing:
        with _started(command, cwd, env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            passing.to(process)
            stdout, stderr = process.communicate()
        return Ended(
            process.returncode, stdout.decode(errors="replace"), stderr.decode(errors="replace"), passing.seen
        )


def lines(
    command: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    say: Callable[[str], None],
    notice: str,
) -> Ended:
    """Run a command to its end; each line of its output and errors goes to `say` as it comes.

    Args:
        command: has no input.
        cwd: where it runs.
        env: its environment.
        say: takes a line without its end.
        notice: printed to standard error at the first signal.
    """
    said: list[str] = []
    with _passing_on(notice) as passing:
        with _started(command, cwd, env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
            passing.to(process)
            assert process.stdout is not None  # noqa: S101 - a pipe was asked for
            for raw in process.stdout:
                line = raw.decode(errors="replace")
                said.append(line)
                say(line.rstrip("\n"))
        return Ended(process.returncode, "".join(said), "", passing.seen)


def shown(command: Sequence[str], *, cwd: Path, env: Mapping[str, str], notice: str) -> Ended:
    """Run a command to its end on this process's terminal, or with its output where this process's goes.

    On a terminal it can ask. Elsewhere it has no input, and a reader of the output that goes away does not end it.
    Returns what it wrote to standard error, which is shown, too.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    terminal = _own_terminal()
    with _passing_on(notice) as passing:
        stdin = None if terminal is not None else subprocess.DEVNULL
        stdout = subprocess.PIPE if _breaks(1) else None
        kept: list[bytes] = []
        with (
            _lent(terminal) as lend,
            _started(command, cwd, env, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE) as process,
        ):
            lend(process.pid)
            passing.to(process)
            relays = [
                threading.Thread(target=_relay, args=(stream.fileno(), fd, keep))
                for stream, fd, keep in ((process.stdout, 1, None), (process.stderr, 2, kept))
                if stream is not None
            ]
            for relay in relays:
                relay.start()
            _wait(process)
            for relay in relays:
                relay.join()
        return Ended(process.returncode, "", b"".join(kept).decode(errors="replace"), passing.seen)


def _started(
    command: Sequence[str],
    cwd: Path,
    env: Mapping[str, str],
    *,
    stdin: int | None = subprocess.DEVNULL,
    stdout: int | None,
    stderr: int | None,
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*KEEP, *command], cwd=cwd, env=env, stdin=stdin, stdout=stdout, stderr=stderr, process_group=0
    )


class _PassingOn:
    """Sends each signal of this process to the command, once it has started."""

    def __init__(self, notice: str) -> None:
        self.seen: tuple[int, ...] = ()
        self._notice = notice
        self._due: list[int] = []
        self._process: subprocess.Popen[bytes] | None = None

    def to(self, process: subprocess.Popen[bytes]) -> None:
        """Pass signals on to this process; those too that came before."""
        self._process = process
        self._send()

    def caught(self, number: int, _frame: FrameType | None) -> None:
        """The handler."""
        if not self.seen and self._notice:
            with contextlib.suppress(OSError):
                os.write(2, f"{self._notice}\n".encode())  # print may have been interrupted itself
        self.seen += (number,)
        self._due.append(number)
        self._send()

    def _send(self) -> None:
        while self._due and self._process is not None:
            number = self._due.pop(0)
            if self._process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self._process.pid, PASSED_ON[signal.Signals(number)])


@contextlib.contextmanager
def _passing_on(notice: str = "") -> Iterator[_PassingOn]:
    """Catch signals in place of whoever did before."""
    passing = _PassingOn(notice)
    if threading.current_thread() is not threading.main_thread():  # which alone may set handlers
        yield passing
        return
    before = {
        number: signal.signal(number, passing.caught)
        for number in PASSED_ON
        if signal.getsignal(number) is not signal.SIG_IGN  # nohup, or a job in the background of a script
    }
    try:
        yield passing
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _own_terminal() -> int | None:
    """Standard input, when it and the output are a terminal and this process is in its foreground."""
    if threading.current_thread() is not threading.main_thread():
        return None
    try:
        own = os.isatty(0) and os.isatty(1) and os.tcgetpgrp(0) == os.getpgrp()
    except OSError:  # not this session's
        return None
    return 0 if own else None


@contextlib.contextmanager
def _lent(terminal: int | None) -> Iterator[Callable[[int], None]]:
    """What lends the terminal to a process group; back comes it as it was, whatever the command left it in."""
    if terminal is None:
        yield lambda _: None
        return
    before = termios.tcgetattr(terminal)
    try:
        yield lambda group: _set_foreground(terminal, group)
    finally:
        _set_foreground(terminal, os.getpgrp())
        with contextlib.suppress(termios.error):  # the terminal is gone
            termios.tcsetattr(terminal, termios.TCSADRAIN, before)


def _set_foreground(terminal: int, group: int) -> None:
    """Make a process group the terminal's foreground; a process in the background is stopped for it otherwise."""
    before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    try:
        with contextlib.suppress(OSError):  # the group, or the terminal, is gone already
            os.tcsetpgrp(terminal, group)
    finally:
        signal.signal(signal.SIGTTOU, before)


def _wait(process: subprocess.Popen[bytes]) -> None:
    """Wait for its end; Ctrl-Z does not stop it, since nobody could have it go on."""
    while process.returncode is None:
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        if os.WIFSTOPPED(status):
            os.killpg(process.pid, signal.SIGCONT)
        else:
            process.returncode = os.waitstatus_to_exitcode(status)


def _breaks(fd: int) -> bool:
    """Whether a write there can end the command with SIGPIPE: in `inv up | tee log`, Ctrl-C ends tee first."""
    mode = os.fstat(fd).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def _relay(source: int, target: int, kept: list[bytes] | None) -> None:
    """Copy to its end, to `kept` as well; where nobody reads any more, read on."""
    reads = True
    while chunk := os.read(source, CHUNK_BYTES):
        if kept is not None:
            kept.append(chunk)
        while reads and chunk:
            try:
                chunk = chunk[os.write(target, chunk) :]
            except BlockingIOError:
                select.select([], [target], [])
            except OSError:
                reads = False
