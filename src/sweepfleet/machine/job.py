"""A job: one run on the cluster, as its folder on the head says it; standard library, for whoever looks at it."""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sweepfleet.machine.files import known, write_whole

# In a progress file: the scheduler knows all that workers have of the run, so one that has nothing there is idle.
SETTLED = "settled"
SWEEP, CLIENT, CALLS = "sweep", "client", "calls"  # the kinds of jobs
PROGRESS_BYTES = 16384  # of a progress file, so that two of them can change places


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be run, and with what."""

    name: str
    release: str  # SHA-256 of its archive
    environment: str  # the lock that names it
    engine: str  # of the release: what scheduler and workers must have the same of
    grid: str  # the grid file's path in the project, with /; the release need not have it; empty for the other kinds
    command_line: str
    submitted: float  # unix time
    retry_failed: bool  # as redo "failed"
    workers_needed: int  # at most; what is left of it says how many
    usd_per_worker_hour: float | None = None  # at most; None: not known
    budget_usd: float | None = None
    deadline: float | None = None  # unix time at which it is to be done
    rates: dict[str, Any] | None = None  # what each type of worker costs, as `head.rates.Rates` has it
    grid_sha256: str = ""  # of the grid file as it was, before --set; empty: made in Python, and no file
    where: tuple[str, ...] = ()  # conditions: it computes what meets them
    slots_each: int = 1  # points that a worker runs at once, at least
    most_workers: int | None = None  # of the cluster's, that it may use, as its command says; None: all
    kind: str = SWEEP
    durable: bool = False  # of calls: their results are kept, and those that were sent are executed without a client
    redo: str = ""  # which ended points it computes again: done, failed, stale, all

    def to_json(self) -> str:
        """The job as job.json has it."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Job:
        """What `to_json` wrote; what a later version may have added is left aside."""
        its = known(cls, json.loads(text))
        return cls(**its | {"where": tuple(its.get("where", ()))})


@dataclass(frozen=True, slots=True)
class JobFolder:
    """`jobs/<name>/` on the data volume: all paths of it."""

    path: Path

    @property
    def unit(self) -> str:
        """The systemd unit of its driver."""
        return f"sweepfleet-run@{self.path.name}.service"

    @property
    def job(self) -> Path:
        """What is to be run."""
        return self.path / "job.json"

    @property
    def grid(self) -> Path:
        """The grid as it is run and its points files, each at its path in the project."""
        return self.path / "grid"

    @property
    def function(self) -> Path:
        """The file of the target's function, where it was sent by value."""
        return self.path / "function.pickle"

    @property
    def release(self) -> Path:
        """The link to the release."""
        return self.path / "release"

    @property
    def environment(self) -> Path:
        """The link to the environment."""
        return self.path / "environment"

    @property
    def active(self) -> Path:
        """There as long as the run is to go on: after an accident, a reboot, on another head."""
        return self.path / "active"

    @property
    def cancelled(self) -> Path:
        """There when somebody does not want it any more: told from a machine that goes down."""
        return self.path / "cancelled"

    @property
    def meter(self) -> Path:
        """The workers' time that it has had."""
        return self.path / "meter.json"

    @property
    def notes(self) -> Path:
        """What kept workers from starting while it was active: a JSON list of `at` (unix time) and `text`."""
        return self.path / "notes.json"

    @property
    def spent(self) -> Path:
        """There when it has cost its budget."""
        return self.path / "spent"

    @property
    def socket(self) -> Path:
        """Where the driver of calls listens for clients."""
        return self.path / "calls.sock"

    @property
    def spool(self) -> Path:
        """What clients have asked the driver of calls for."""
        return self.path / "calls.spool"

    @property
    def storing(self) -> Path:
        """Held by the one process that stores the run's results."""
        return self.path / ".storing"

    @property
    def progress(self) -> Path:
        """How far it is, written anew every second."""
        return self.path / "progress.json"

    def write(self, file: Path, text: str) -> None:
        """Write one of these files whole."""
        write_whole(file, text)

    def write_progress(self, text: str) -> None:
        """Write the progress file whole, also on a full disk. Raises OSError when even that cannot be.

        Where there is no room for another file, a spare one of the same size, which has its place on the disk
        already, is written over, and the two change names. Whitespace fills what is left.
        """
        data = text.ljust(PROGRESS_BYTES)
        try:
            self.write(self.progress, data)
        except OSError:
            if len(data.encode()) > PROGRESS_BYTES or not self._spare.exists():
                raise
            self._exchange(data)
        else:
            if not self._spare.exists():
                with contextlib.suppress(OSError):
                    self.write(self._spare, " " * PROGRESS_BYTES)

    @property
    def _spare(self) -> Path:
        return self.path / ".progress.spare"

    def _exchange(self, data: str) -> None:
        other = self.path / ".progress.other"
        with self._spare.open("r+") as file:
            file.write(data)
        other.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # it may be root's
            other.hardlink_to(self.progress)
        self._spare.replace(self.progress)
        if other.exists() and other.stat().st_size == PROGRESS_BYTES:
            other.rename(self._spare)

    def read_progress(self) -> dict[str, Any]:
        """How far it is; empty before it began, and when a power cut has left half a file."""
        try:
            found = json.loads(self.progress.read_text())
        except (FileNotFoundError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}


def active_jobs(jobs: Path) -> list[JobFolder]:
    """The active jobs: their runs are running, or resume after an accident."""
    return [JobFolder(path) for path in sorted(jobs.iterdir()) if JobFolder(path).active.exists()]
