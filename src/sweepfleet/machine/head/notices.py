"""Loaded by the scheduler: writes down which workers AWS takes back, as they say so."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from distributed import Scheduler, SchedulerPlugin

from sweepfleet.machine import leaving
from sweepfleet.machine.facts import Data, Facts


class Notices(SchedulerPlugin):  # type: ignore[misc]
    """Keeps the file of `machine.leaving`: a worker that says goodbye is out of it."""

    name = "sweepfleet-notices"
    idempotent = True

    def __init__(self, scheduler: Scheduler, file: Path) -> None:
        """What an earlier scheduler wrote stays, until its time is over."""
        self._scheduler, self._file = scheduler, file

    def log_event(self, topic: str, msg: Any) -> None:
        """Note what a worker says of itself."""
        if topic != leaving.TOPIC or not isinstance(msg, dict):
            return
        worker = self._scheduler.workers.get(msg.get("worker"))
        if worker is not None:
            now_s = time.time()
            known = leaving.read(self._file, now_s=now_s)
            self._write(known | {str(worker.name): now_s + float(msg.get(leaving.LEFT_S, 0.0))})

    def remove_worker(self, scheduler: Scheduler, worker: str, **_: Any) -> None:  # noqa: ARG002 - dask's signature
        """It has left: its machine shuts down, and the keeper has nothing to do with it any more."""
        known = leaving.read(self._file, now_s=time.time())
        names = {str(one.name) for one in scheduler.workers.values()}
        gone = [name for name in known if name not in names]
        if gone:
            self._write({name: end_s for name, end_s in known.items() if name not in gone})

    def _write(self, workers: dict[str, float]) -> None:
        try:
            leaving.write(self._file, workers)
        except OSError as error:  # a full disk: the group replaces the machine when it has gone
            print(f"which workers leave cannot be recorded: {error}", flush=True)


def dask_setup(scheduler: Scheduler) -> None:
    """As dask calls it in a scheduler that preloads this module."""
    scheduler.add_plugin(Notices(scheduler, Data(Path(Facts.read().data)).leaving))
