"""Ends workers that have nothing to do while others compute: idle ones alone, by name, the dearest first."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sweepfleet.machine.aws import Aws, AwsError, Machine
from sweepfleet.machine.facts import CODE, HOME
from sweepfleet.machine.head.retire import DRAIN
from sweepfleet.machine.job import SETTLED, JobFolder

WAIT_S = 10.0  # with a worker too many, before it goes: a point that is tried again finds it
ASK_EVERY_S = 10.0  # the scheduler, which of them are idle: a second of the head's time
ASK_WITHIN_S = 60.0
FRESH_S = 10.0  # a driver that is alive writes every second
GONE = "not found"  # what AWS says of a machine that is not in the group any more: "Instance Id not found"


def all_known(folders: list[JobFolder], *, now_s: float) -> bool:
    """Whether the scheduler knows of all that workers have.

    While a run has no driver, or one that has just begun, its workers may compute or hold results that no scheduler
    knows of.
    """
    for folder in folders:
        said = folder.read_progress()
        silent = said.get("state") == "running" and now_s - said.get("at", 0.0) > FRESH_S
        if silent or not said.get(SETTLED):
            return False
    return True


def retire(names: Sequence[str], most: int) -> list[str]:
    """Have the scheduler retire idle workers of these; returns which. None where it cannot be asked."""
    return _ask(str(most), *names) or []


def drain(names: Sequence[str], most: int, keep: int) -> list[str] | None:
    """Have the scheduler give so many of these workers no further bundles; which, or None where it cannot be asked.

    So many workers, of all that have joined, get bundles in any case.
    """
    return _ask(DRAIN, str(most), str(keep), *names)


def _ask(*asked: str) -> list[str] | None:
    """What the scheduler says; None where it cannot be asked."""
    python = HOME.fleet_environment / "bin" / "python"
    words = [str(python), "-m", "sweepfleet.machine.head.retire", *asked]
    try:
        done = subprocess.run(
            words, cwd=HOME.fleet_release / CODE, capture_output=True, text=True, timeout=ASK_WITHIN_S, check=False
        )
        if done.returncode == 0:
            found: list[str] = json.loads(done.stdout.strip().splitlines()[-1])
            return found
        why = (done.stderr.strip() or str(done.returncode)).splitlines()[-1]
    except (OSError, ValueError, IndexError, subprocess.TimeoutExpired) as error:
        why = str(error)
    print(f"which workers are idle cannot be asked: {why}", flush=True)
    return None


@dataclass
class Shrink:
    """Makes the group smaller, machine by machine."""

    aws: Aws
    retire: Callable[[Sequence[str], int], list[str]]  # idle workers of these, so many at most
    _since_s: float | None = None  # time.monotonic() since when there are too many
    _asked_s: float = float("-inf")
    _leaving: list[str] = field(default_factory=list)  # retired, and AWS has not ended them yet

    def is_due(self, *, surplus: int, now_s: float) -> bool:
        """Whether there have been too many for a while, and the scheduler was not asked a moment ago.

        Args:
            surplus: how many are too many.
            now_s: time.monotonic().
        """
        self._since_s = None if surplus <= 0 else now_s if self._since_s is None else self._since_s
        waited = self._since_s is not None and now_s - self._since_s >= WAIT_S
        return bool(self._leaving) or (waited and now_s - self._asked_s >= ASK_EVERY_S)

    def end_idle(self, machines: Sequence[str], *, most: int, now_s: float) -> None:
        """End idle workers, and those that are retired already.

        Args:
            machines: of the group, those first that are to go first.
            most: to end.
            now_s: time.monotonic().

        Raises:
            AwsError: AWS does not end one; the next call tries it again.
        """
        if most > 0 and not self._leaving:
            self._asked_s = now_s
            self._leaving = list(self.retire(machines, most))
        while self._leaving:
            name = self._leaving[0]
            try:
                self.aws.end_worker(name)
                print(f"the worker {name} has nothing to do and is shut down", flush=True)
            except AwsError as error:
                if GONE not in str(error):
                    raise
            self._leaving.pop(0)


def in_order(machines: Sequence[Machine], *, price: Callable[[Machine], float]) -> list[str]:
    """The machines' ids: the dearest first, of the same price the oldest. Pure."""
    return [one.id for one in sorted(machines, key=lambda one: (-price(one), one.launched, one.id))]
