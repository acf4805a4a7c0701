"""The driver's side of the process that makes a run's files: started before points run, used when they have ended.

They are made in a process of their own, so that the driver stays small, and so that whatever goes wrong there costs
no result: everything can be made again. A short sweep would wait for what that process imports, so it is started
early: see `run.files_process`, which takes no time from points.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Iterator
from typing import Self

from sweepfleet.grid.errors import SweepfleetError
from sweepfleet.run.disk import full_disk
from sweepfleet.run.files_process import EXIT_FULL
from sweepfleet.run.folder import RunFolder
from sweepfleet.run.summary import Facts, Summary

# polars' allocator otherwise keeps what it has freed, which doubles the process at a million rows.
ALLOCATOR = {"_RJEM_MALLOC_CONF": "dirty_decay_ms:0,muzzy_decay_ms:0"}

Process = subprocess.Popen[bytes]


class FilesError(SweepfleetError):
    """The results are in the ledger, but the files could not be made from it."""

    at_once = True  # perhaps it ran out of memory


class FilesWriter:
    """Makes a run's files in a separate process, which ends with the `with` block."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._early: Process | None = None
        self._running: list[Process] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in tuple(self._running):
            self._end(process)

    def start(self) -> None:
        """Have a process get ready while others import and points run.

        Returns at once. The process ends by itself when it is not asked within half a minute. Where a process cannot
        import without taking time from points, nothing is started.
        """
        if sys.platform != "linux":  # no other system gives a priority to a thread
            return
        try:
            self._early = self._start("--early")
        except OSError:
            self._early = None  # `write` starts one, and says what is wrong if that fails too

    def write(self, facts: Facts) -> Summary:
        """Write results.parquet, results.csv, report.html and summary.json, each whole.

        Raises:
            FullDiskError: there is no room for them; the ledger is whole.
            FilesError: it failed for another reason; likewise.
        """
        text = facts.to_json().encode()
        said, code = b"", 0
        for process in self._to_ask():
            summary, said = process.communicate(text)
            code = process.returncode
            self._end(process)
            if code == 0 and summary.strip():
                return Summary(**json.loads(summary))
            if code == EXIT_FULL:
                raise full_disk(self._folder.path)
            if code > 0:
                break  # it says why; another one would, too
        why = said.decode(errors="replace").strip() or f"the process was killed by signal {-code}."
        raise FilesError(
            f"All results are in {self._folder.ledger}, but the tables and the report could not be written "
            f"from it:\n{why}\nWhen that is fixed: inv report --name {self._folder.name}"
        )

    def _to_ask(self) -> Iterator[Process]:
        """The processes to ask in turn: one that is ready, and another one if the first was killed."""
        early, self._early = self._early, None
        fresh = None
        if early is not None:
            ready = _ready(early, timeout_s=0)
            if ready is None:  # where the cores are taken it may need long: whichever is ready first
                fresh = self._start()
                ready = _ready(early, beside=fresh)
            if ready:
                if fresh is not None:
                    self._end(fresh)
                fresh = None
                yield early
            else:
                self._end(early)
        yield fresh or self._start()

    def _start(self, *options: str) -> Process:
        process = subprocess.Popen(
            # -P: a `worker.py` in the current folder must not come before ours.
            [sys.executable, "-P", "-m", "sweepfleet.run.files_process", str(self._folder.path), *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | ALLOCATOR,
            # Ctrl-C does not reach it. No session of its own: the kernel may give each session the same share.
            process_group=0,
        )
        self._running.append(process)
        return process

    def _end(self, process: Process) -> None:
        """Kill a process that still runs, and close its pipes."""
        with process:
            process.kill()
        if process in self._running:
            self._running.remove(process)


def _ready(early: Process, *, beside: Process | None = None, timeout_s: float | None = None) -> bool | None:
    """Whether a process has said that it is ready; None when it has not yet, and False when it has ended.

    Waits until then, but no longer than `timeout_s`, or than until the process beside it is ready or has ended: then
    False, too.
    """
    waiting = select.poll()
    for process in (early, beside):
        if process is not None and process.stdout is not None:
            waiting.register(process.stdout, select.POLLIN)
    found = {number for number, _ in waiting.poll(None if timeout_s is None else timeout_s * 1000)}
    if not found:
        return None
    if early.stdout is not None and early.stdout.fileno() in found:
        return bool(os.read(early.stdout.fileno(), 1))
    return False
