"""What is known of a stack's runs and money, asked from the head, or from the bucket while the head is asleep.

The head stores its answers every hour, when a run begins or ends, and when it stops. Nothing here wakes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from sweepfleet.fleet.fleet import Fleet
from sweepfleet.fleet.money.cost import Cost, cost, cost_of
from sweepfleet.fleet.money.forecast import Forecast
from sweepfleet.fleet.reach.bucket import get_json
from sweepfleet.fleet.runs import jobs
from sweepfleet.fleet.runs.active import RunStatus, active, run_status
from sweepfleet.fleet.runs.ended import EndedRun
from sweepfleet.fleet.runs.jobs import State
from sweepfleet.fleet.stack.awake import AsleepError, HeadState
from sweepfleet.infra.layout import BucketLayout
from sweepfleet.machine.head.meter import Reading
from sweepfleet.machine.job import CLIENT, Job

STOPPED = "stopped with the head, resumes when it is awake"


@dataclass(frozen=True, slots=True)
class Answers:
    """What the head knew when it last stored it."""

    at: datetime
    active: tuple[RunStatus, ...]
    ended: tuple[EndedRun, ...]  # the last one first
    costs: Mapping[str, Cost]  # by run
    states: Mapping[str, State]  # by run
    clients: frozenset[str]  # the dask clients among the runs
    spending: str  # what all workers have cost, as `machine.head.spending` reads it

    def which(self, name: str) -> str:
        """The run that a command means, as `jobs.which` has it of a head that is awake. Raises UsageError."""
        known = [*(one.name for one in self.active), *(one.name for one in self.ended)]
        return jobs.meant(name, known=known, active=[one.name for one in self.active], clients=self.clients)


def sleeping(fleet: Fleet) -> Answers | None:
    """The answers of a head that is asleep; None: it is awake, and is asked itself.

    Raises:
        GoneError: AWS has no head any more.
        AsleepError: it is asleep, and the bucket has no answers.
    """
    state = fleet.require_head()
    return answers(fleet, state) if state is not None and state.is_asleep else None


def answers(fleet: Fleet, state: HeadState) -> Answers:
    """The answers in the bucket. Raises AsleepError: there are none."""
    bucket = fleet.outputs.bucket
    said = get_json(fleet.cloud, bucket, BucketLayout().answers, doing="read what the head has stored")
    if said is None:
        now = datetime.now(UTC)
        raise AsleepError(
            f"{state.line(now)}. It has stored nothing that could be shown: its release is older, or its rights are. "
            "Wake it: inv ssh. Then: inv up, inv push"
        )
    return _read(said)


def _read(said: Mapping[str, Any]) -> Answers:
    at = datetime.fromtimestamp(said["at"], UTC)
    found = [(one, Job.from_json(one["job"]), Reading.parse(one["meter"])) for one in said["jobs"]]
    stored = said.get("stored", {}).get("runs", {})
    return Answers(
        at=at,
        active=tuple(
            _stopped(run_status(_state(one, at), reading, job, stored=stored.get(job.name, {})))
            for one, job, reading in found
            if one["active"]
        ),
        ended=tuple(EndedRun.of(one) for one, _, _ in found if not one["active"]),
        states={job.name: _state(one, at) for one, job, _ in found},
        costs={job.name: cost(reading, job) for _, job, reading in found},
        clients=frozenset(job.name for _, job, _ in found if job.kind == CLIENT),
        spending=said["spending"],
    )


def _state(one: Mapping[str, Any], at: datetime) -> State:
    return State.of({**one["progress"], "ended": not one["active"], "now": at.timestamp()})


def _stopped(run: RunStatus) -> RunStatus:
    """A run that was active when the head stopped: it does not compute now, so no forecast is true."""
    return replace(run, state=STOPPED, forecast=Forecast(), waits="", waits_since=None)


def active_runs(fleet: Fleet) -> list[RunStatus]:
    """The active runs. Raises ClusterError: the head does not answer, or is asleep and has stored nothing."""
    if (known := sleeping(fleet)) is not None:
        return list(known.active)
    with fleet.awake_head() as head:
        return list(active(head))


def costs(fleet: Fleet) -> Mapping[str, Cost]:
    """What each run has cost, by its name: of all that the head has, or of the last ones while it is asleep.

    Raises:
        ClusterError: the head does not answer, or is asleep and has stored nothing.
    """
    if (known := sleeping(fleet)) is not None:
        return known.costs
    with fleet.awake_head() as head:
        return {name: cost_of(head, name) for name in jobs.names(head)}
