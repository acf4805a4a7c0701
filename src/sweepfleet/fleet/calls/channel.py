"""One connection to the driver of calls on the head: the `ssh` program, which runs the relay there."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import subprocess
from collections.abc import Callable, Sequence
from tempfile import TemporaryFile
from typing import IO

from sweepfleet.fleet.calls.ended import NotActiveError
from sweepfleet.fleet.errors import ClusterError
from sweepfleet.fleet.fleet import Fleet
from sweepfleet.fleet.reach import data_volume
from sweepfleet.fleet.reach.ssh_command import ssh_command
from sweepfleet.fleet.runs.jobs import PATHS, folder_of
from sweepfleet.run.calls.line import Buffer, joined

END_S = 5.0  # for the ssh program to end


class PipeConnection:
    """A `run.calls.line.Connection` over a program's standard input and output."""

    def __init__(self, words: Sequence[str]) -> None:
        """Start the program. Raises ClusterError when it cannot be started."""
        self._said: IO[bytes] = TemporaryFile()  # noqa: SIM115 - `close` closes it
        try:
            self._process = subprocess.Popen(
                words,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._said,
                bufsize=0,
                process_group=0,  # Ctrl-C does not reach it
            )
        except OSError as error:
            self._said.close()
            raise ClusterError(f"ssh cannot be started: {error}") from None
        if self._process.stdin is None or self._process.stdout is None:
            raise AssertionError("they are pipes")  # pragma: no cover
        self._in, self._out = self._process.stdin.fileno(), self._process.stdout.fileno()

    def read(self, size: int) -> Buffer:
        """See `Connection`."""
        data = bytearray(size)
        left = memoryview(data)
        while left:
            count = os.readv(self._out, [left])
            if not count:
                raise EOFError
            left = left[count:]
        return data

    def line(self) -> str:
        """A line of text; empty at the end."""
        text = b""
        while (byte := os.read(self._out, 1)) not in (b"", b"\n"):
            text += byte
        return text.decode(errors="replace")

    def write(self, buffers: Sequence[Buffer]) -> None:
        """See `Connection`."""
        for each in joined(buffers):
            left = memoryview(each)
            while left:
                left = left[os.write(self._in, left) :]

    def why(self) -> str:
        """What the program said as it ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(END_S)
        self._said.seek(0)
        text = self._said.read().decode(errors="replace").strip()
        return text or f"ssh ended with {self._process.returncode}"

    def close(self) -> None:
        """See `Connection`. A thread that reads or writes gets an error: the program ends."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._said):
            if pipe is not None:
                pipe.close()


def open_channel(fleet: Fleet, name: str, *, waits: Callable[[str], None]) -> PipeConnection:
    """A connection to the driver of a run's calls, once it answers.

    Args:
        fleet: the cluster.
        name: of the run.
        waits: told what the job is doing meanwhile, each time that it changes.

    Raises:
        NotActiveError: there is no such active job.
        HostKeyError: the head is another machine than it was.
        ClusterError: the head does not answer now.
    """
    relay = f"cd {PATHS.code} && exec sudo -n python3 -m sweepfleet.machine.head.relay {folder_of(name).path}"
    options = ["-T", "-o", "BatchMode=yes"]
    command = shlex.join(["sh", "-c", data_volume.needed(relay)])
    connection = PipeConnection([*ssh_command(fleet, worker="", options=options), command])
    try:
        await_driver(connection, waits)
    except BaseException:
        connection.close()
        raise
    return connection


def await_driver(connection: PipeConnection, waits: Callable[[str], None]) -> None:
    """Return when the driver answers; errors as of `open_channel`."""
    while text := connection.line():
        try:
            said = json.loads(text)
        except ValueError:
            raise ClusterError(f"[head] this is not the answer of a relay: {text[:200]}") from None
        if said.get("connected"):
            return
        if "ended" in said:
            raise NotActiveError(said["ended"])
        waits(str(said.get("waiting", "")))
    raise ClusterError(f"[head] the connection broke: {connection.why()}")
