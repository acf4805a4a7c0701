"""Stores in the bucket what active runs have so far, and the head's answers: every hour, and when the head stops.

A run's end stores its results itself; then its parts are removed. What cannot be stored is tried again and shown by
`inv status`; no run waits for it.
"""

from __future__ import annotations

import functools
import json
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sweepfleet.machine.aws import Aws, AwsError
from sweepfleet.machine.facts import KEYS, Data, Facts
from sweepfleet.machine.files import write_whole
from sweepfleet.machine.head.answers import answers
from sweepfleet.machine.head.run_parts import BusyError, finish, store
from sweepfleet.machine.in_process import door
from sweepfleet.machine.job import CLIENT, Job, JobFolder
from sweepfleet.machine.refusals import is_final
from sweepfleet.run.folder import StorageError

EVERY_S = 3600.0
POLL_S = 15.0
AGAIN_S, LONGEST_S = 60.0, 900.0  # after a failure: the first pause and the longest one
LAST_S = 90.0  # for what is left when the head stops
LAST_AGAIN_S = 3.0
STOPPING = Path("/run/sweepfleet-stopping")  # the unit makes it when the whole machine stops


@dataclass
class Look:
    """One thing that is to be stored: when it was, and since when and why it cannot be."""

    at: float | None = None  # unix time of what the bucket has; None: nothing
    error: str = ""
    since: float | None = None  # unix time of the first failure after the last success
    busy: bool = False  # another process stores it now
    due_s: float = float("-inf")  # by the clock of this process
    pause_s: float = AGAIN_S


@dataclass
class Store:
    """All that is to be stored."""

    data: Data
    aws: Aws
    runs: dict[str, Look] = field(default_factory=dict)
    said: Look = field(default_factory=Look)
    _active: frozenset[str] = frozenset()

    def look(self, now_s: float) -> bool:
        """Store what is due; returns whether nothing is left. `now_s` is of a clock that never goes back."""
        folders = {file.parent.name: JobFolder(file.parent) for file in self.data.jobs.glob("[!.]*/job.json")}
        active = {name for name, folder in folders.items() if _is_stored(folder)}
        for name, folder in folders.items():
            if name in active:
                self._try(self.runs.setdefault(name, Look()), now_s, functools.partial(self._store, folder))
            elif self.data.parts(name).exists():
                self._try(self.runs.setdefault(name, Look()), now_s, functools.partial(self._finish, folder))
        for name in set(self.runs) - active:
            if not self.data.parts(name).exists():
                del self.runs[name]
        self._note()
        if active != self._active:
            self.said.due_s, self._active = now_s, frozenset(active)
        self._try(self.said, now_s, self._say)
        self._note()
        return not any(one.error or one.busy for one in (*self.runs.values(), self.said))

    @property
    def is_hopeless(self) -> bool:
        """Whether what is left is what S3 refuses for good."""
        left = [one for one in (*self.runs.values(), self.said) if one.error or one.busy]
        return bool(left) and all(is_final(one.error) for one in left)

    def all_is_due(self) -> None:
        """Have the next look store everything."""
        for one in (*self.runs.values(), self.said):
            one.due_s = float("-inf")

    def _try(self, one: Look, now_s: float, what: Callable[[], float | None]) -> None:
        if now_s < one.due_s:
            return
        one.busy = False
        try:
            at = what()
        except (AwsError, StorageError, OSError) as error:
            print(f"cannot be stored: {error}", flush=True)
            hint = "; what a head may, `inv up` brings up to date" if is_final(str(error)) else ""
            one.error, one.since = f"{error}{hint}", one.since or time.time()
            one.due_s, one.pause_s = now_s + one.pause_s, min(2 * one.pause_s, LONGEST_S)
        except BusyError:
            one.busy = True
        else:
            one.at, one.error, one.since, one.pause_s = at, "", None, AGAIN_S
            one.due_s = now_s + EVERY_S

    def _store(self, folder: JobFolder) -> float | None:
        return store(folder, self.data, self.aws)

    def _finish(self, folder: JobFolder) -> float | None:
        finish(folder, self.data, self.aws)
        return None

    def _say(self) -> float:
        now_s = time.time()
        file = self.data.keeper / ".answers.json"
        write_whole(file, json.dumps(answers(self.data, now_s=now_s)))
        self.aws.put(file, KEYS.answers)
        return now_s

    def _note(self) -> None:
        """Write down for `inv status` how it stands."""
        named = {name: _shown(one) for name, one in self.runs.items()}
        try:
            write_whole(self.data.stored, json.dumps({"runs": named, "answers": _shown(self.said)}))
        except OSError as error:
            print(f"when runs were stored cannot be written down: {error}", flush=True)


def _shown(one: Look) -> dict[str, Any]:
    return {name: value for name, value in asdict(one).items() if name in {"at", "error", "since"}}


def _is_stored(folder: JobFolder) -> bool:
    """Whether a job is active, and has results that are to be stored."""
    return folder.active.exists() and Job.from_json(folder.job.read_text()).kind != CLIENT


def serve(facts: Facts, *, stopped: threading.Event) -> None:
    """Store until the process is to stop; and once more when the whole machine stops."""
    keeps = Store(Data(Path(facts.data)), door(facts))
    while not stopped.is_set():
        keeps.look(time.monotonic())
        stopped.wait(POLL_S)
    if STOPPING.exists():
        end_s = time.monotonic() + LAST_S
        keeps.all_is_due()
        while not (whole := keeps.look(time.monotonic())) and not keeps.is_hopeless and time.monotonic() < end_s:
            keeps.all_is_due()
            time.sleep(LAST_AGAIN_S)
        print(f"{'Stored' if whole else 'Could not store'} what runs have so far; the head stops.", flush=True)


def main() -> None:
    """Serve until SIGTERM."""
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    serve(Facts.read(), stopped=stopped)


if __name__ == "__main__":
    main()
