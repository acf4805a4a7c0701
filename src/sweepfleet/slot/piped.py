"""Runs a program and reads both of its streams: output is passed on at once, and the last bytes of each are kept."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import IO, NamedTuple

CHUNK_BYTES = 1 << 16
LOOK_S = 0.05  # how often to look whether a program has ended whose pipes are held open by what it started


class Ended(NamedTuple):
    """A program's exit code and the end of its output."""

    code: int  # negative: the signal that ended it
    stdout: bytes
    stderr: bytes
    watched: bool = False  # whether what was watched for was printed before `stdout`


def run(
    words: Sequence[str],
    *,
    cwd: str,
    env: Mapping[str, str],
    out_bytes: int,
    err_bytes: int,
    to: IO[bytes] | None,
    watch: bytes = b"",
) -> Ended:
    """Run a program to its end; memory is bounded and no file is written, however much it prints.

    What it leaves running in the background is not waited for.

    Args:
        words: the program and its arguments.
        cwd: where it starts.
        env: its environment.
        out_bytes: how much of the end of standard output is returned.
        err_bytes: how much of that of standard error.
        to: where both streams are passed on to, as they come; None: nowhere.
        watch: what to look for in the beginning of standard output, which is not returned; `watched` tells.

    Raises:
        OSError: it cannot be started.
    """
    with contextlib.ExitStack() as stack:
        process = subprocess.Popen(
            words,
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
        )
        assert process.stdout is not None  # noqa: S101 - for mypy: both are pipes
        assert process.stderr is not None  # noqa: S101
        out, err = _Tail(out_bytes, watch), _Tail(err_bytes)
        tails = {}
        for pipe, tail in ((process.stdout, out), (process.stderr, err)):
            tails[stack.enter_context(pipe).fileno()] = tail
            os.set_blocking(pipe.fileno(), False)
        try:
            _follow(process, tails, to)
            return Ended(process.wait(), out.bytes(), err.bytes(), out.watched)
        except BaseException:  # as when the user stops `--test-point`
            process.kill()
            process.wait()
            raise


def _follow(process: subprocess.Popen[bytes], tails: dict[int, _Tail], to: IO[bytes] | None) -> None:
    """Read until both pipes end, or the program has ended and they are empty."""
    poll = select.poll()
    for fd in tails:
        poll.register(fd, select.POLLIN)
    look_s = time.monotonic() + LOOK_S
    ended = False
    while tails:
        ready = poll.poll(0 if ended else LOOK_S * 1000)
        if ended and not ready:
            return
        for fd, _ in ready:
            data = _read(fd)
            if data is None:
                continue
            if not data:
                poll.unregister(fd)
                del tails[fd]
                continue
            tails[fd].add(data)
            if to is not None:
                with contextlib.suppress(OSError, ValueError):  # nobody listens any more
                    to.write(data)
                    to.flush()
        if time.monotonic() > look_s:
            if ended:
                return  # a background process is still printing
            ended = process.poll() is not None
            look_s = time.monotonic() + LOOK_S


def _read(fd: int) -> bytes | None:
    try:
        return os.read(fd, CHUNK_BYTES)
    except BlockingIOError:
        return None


class _Tail:
    """The last bytes of what is added."""

    def __init__(self, limit: int, watch: bytes = b"") -> None:
        self._limit = limit
        self._watch = watch
        self._data = bytearray()
        self.watched = False  # whether `watch` began before what is kept

    def add(self, data: bytes) -> None:
        self._data += data
        if len(self._data) > 2 * self._limit:
            self._drop()

    def bytes(self) -> bytes:
        if len(self._data) > self._limit:
            self._drop()
        return bytes(self._data)

    def _drop(self) -> None:
        dropped = len(self._data) - self._limit
        if self._watch and self._data.find(self._watch, 0, dropped + len(self._watch) - 1) >= 0:
            self.watched = True
        del self._data[:dropped]
