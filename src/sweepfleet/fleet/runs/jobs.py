"""Runs on the cluster: handed over to the head, followed from wherever one is, fetched when they have ended."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sweepfleet.fleet.code.push import Pushed
from sweepfleet.fleet.errors import ClusterError
from sweepfleet.fleet.reach import data_volume
from sweepfleet.fleet.reach.remote import Host
from sweepfleet.fleet.runs import travel
from sweepfleet.grid.errors import UsageError
from sweepfleet.grid.space import Space
from sweepfleet.grid.sweep import Sweep
from sweepfleet.infra.layout import MachinePaths
from sweepfleet.machine.head.rates import Rates
from sweepfleet.machine.head.take_over import GOES_ON, TAKE_OVER
from sweepfleet.machine.job import CLIENT, Job, JobFolder
from sweepfleet.run.run_progress import Progress

PATHS = MachinePaths()
JOBS = f"{PATHS.data}/jobs"
STORE_S = 1800  # for tables and report of a large run, and their way to the bucket


@dataclass(frozen=True, slots=True)
class State:
    """How far a run on the cluster is, as its driver says."""

    state: str  # starting, waiting, running, ended
    ended: bool
    progress: dict[str, Any] | None
    best: str
    waiting_for: str
    exit_code: int | None
    error: str
    summary: dict[str, Any]
    said: float | None  # by the head's clock, unix time
    calls: dict[str, Any] | None = None  # of an Executor: how many are done, failed and open
    notes: tuple[str, ...] = ()  # what the keeper has said of workers that AWS did not start

    @classmethod
    def of(cls, said: dict[str, Any]) -> State:
        """Out of a line of `machine.head.follow`."""
        return cls(
            state=said.get("state", "starting"),
            ended=bool(said.get("ended")),
            progress=said.get("progress"),
            best=said.get("best", ""),
            waiting_for=said.get("waiting_for", ""),
            exit_code=said.get("exit_code"),
            error=said.get("error", ""),
            summary=said.get("summary") or {},
            said=said.get("now"),
            calls=said.get("calls"),
            notes=tuple(map(str, said.get("notes") or ())),
        )


def progress_of(state: State) -> Progress:
    """A driver's progress, by this machine's clock; what a later version may have added is left aside."""
    known = {name: value for name, value in (state.progress or {}).items() if name in Progress.__dataclass_fields__}
    best = known.pop("best", None)
    ahead_s = 0.0 if state.said is None else state.said - time.time()
    for name in ("first_submit_s", "first_result_s", "last_result_s", "waits_since"):
        if known.get(name) is not None:
            known[name] -= ahead_s
    return Progress(**known, best=tuple(best) if best else None)


def folder_of(name: str) -> JobFolder:
    """A job's folder on the head."""
    return JobFolder(Path(JOBS, name))


def workers_needed(sweep: Sweep, *, workers: int | None, max_workers: int, slots_each: int = 1) -> int:
    """How many workers a sweep may have: as many as have a point each slot, as the stack has and as was asked for."""
    points = Space(sweep.plan.narrowed(sweep.chosen)).count().points
    at_once = min(points, sweep.execution.max_parallel or points)
    return max(1, min(math.ceil(at_once / slots_each), max_workers, workers or max_workers))


def job_of(
    sweep: Sweep,
    release: Pushed,
    *,
    root: Path,
    command_line: str,
    redo: str,
    workers: int | None,
    max_workers: int,
    slots_each: int = 1,
    usd_per_worker_hour: float | None = None,
    budget_usd: float | None = None,
    rates: Rates | None = None,
) -> Job:
    """A sweep as the head is asked to run it.

    Args:
        sweep: checked here already.
        release: whose code it runs.
        root: of the checkout.
        command_line: as typed.
        redo: which ended points it computes again; empty: none.
        workers: at most so many; None: as many as it can use.
        max_workers: the stack's.
        slots_each: points that a worker runs at once, at least.
        usd_per_worker_hour: what a worker costs at most; None: not known, so no budget can be held.
        budget_usd: what the run may cost; then it stops.
        rates: what an hour of each type costs.

    Raises:
        UsageError: the grid is outside the project.
    """
    return Job(
        name=sweep.name,
        release=release.sha256,
        environment=release.lock,
        engine=release.engine,
        grid=travel.grid_place(sweep, root=root),
        grid_sha256=travel.sha256_of(sweep),
        command_line=command_line,
        submitted=(now_s := time.time()),
        deadline=None if sweep.execution.deadline_s is None else now_s + sweep.execution.deadline_s,
        retry_failed=redo == "failed",
        redo=redo,
        where=sweep.chosen,
        workers_needed=workers_needed(sweep, workers=workers, max_workers=max_workers, slots_each=slots_each),
        slots_each=slots_each,
        most_workers=workers,
        usd_per_worker_hour=usd_per_worker_hour,
        budget_usd=budget_usd,
        rates=rates.to_dict() if rates else None,
    )


def submit(head: Host, sweep: Sweep, job: Job, *, root: Path) -> None:
    """Hand a sweep over to the head, which runs it from now on by itself.

    Args:
        head: an open connection.
        sweep: checked here already.
        job: of the sweep.
        root: of the checkout.

    Raises:
        UsageError: a run of this name goes on; or a points file is outside the project.
        ClusterError: the head cannot take it.
    """
    with TemporaryDirectory() as here:
        archive = Path(here, "job.tar")
        travel.pack(archive, sweep, job, root=root)
        send(head, archive, name=sweep.name)


def send(head: Host, archive: Path, *, name: str) -> None:
    """Hand a job's archive over to the head; errors as of `submit`."""
    if not take_over(head, archive, name):
        raise UsageError(goes_on(name))


def take_over(head: Host, archive: Path, name: str) -> bool:
    """Have the head take a job over; False when an active run has this name.

    Raises:
        ClusterError: the head cannot take it.
    """
    folder = folder_of(name)
    incoming = head.ask("mktemp").strip()
    head.put(archive, incoming)
    words = [incoming, str(folder.path), name, folder.unit]
    try:
        answer = head.run("sh", "-euc", data_volume.needed(TAKE_OVER), "take-over", *words, sudo=True)
    except ClusterError as error:
        raise ClusterError(
            f"{error} Whether the cluster has the run is unknown. See: inv status · Watch: inv attach --name "
            f"{name} · Cancel: inv cancel --name {name}"
        ) from None
    if answer.exit_code and answer.exit_code != GOES_ON:
        raise ClusterError(f"[head] The run could not be started: {(answer.stderr or answer.stdout).strip()}")
    return answer.exit_code != GOES_ON


def goes_on(name: str) -> str:
    """Why a sweep is not taken over, for whoever asked."""
    return (
        f"The run {name} is active already. Watch: inv attach --name {name} · Cancel: inv cancel --name {name} · "
        f"Run another beside it: --name {name}-2"
    )


def names(head: Host, *, active: bool = False) -> list[str]:
    """The runs that the head knows, those submitted last first; `active`: only those that have not ended.

    Raises:
        ClusterError: the head does not answer, or is not up yet.
    """
    mark = "active" if active else "job.json"
    found = head.ask("sh", "-c", data_volume.needed(f"ls -1td {JOBS}/*/{mark} 2>/dev/null || true"))
    return [Path(line).parent.name for line in found.splitlines()]


def _clients(head: Host) -> set[str]:
    """The dask clients among the runs that the head knows; errors as of `names`."""
    script = f"""grep -l '"kind": "{CLIENT}"' {JOBS}/*/job.json 2>/dev/null || true"""
    return {Path(line).parent.name for line in head.ask("sh", "-c", data_volume.needed(script)).splitlines()}


def which(head: Host, name: str) -> str:
    """The run that a command means: as named, else the one that goes on, else the last one.

    Raises:
        UsageError: there is none, or more than one goes on.
    """
    if name:
        return meant(name, known=names(head), active=(), clients=())
    return meant(name, known=names(head), active=names(head, active=True), clients=_clients(head))


def meant(name: str, *, known: Collection[str], active: Collection[str], clients: Collection[str]) -> str:
    """The run that a command means, of those that are known, the ones submitted last first; errors as of `which`."""
    if name:
        if name not in known:
            raise UsageError(f"The cluster has no run {name}. It has: {', '.join([*known][:10]) or 'none'}")
        return name
    known = [each for each in known if each not in clients]  # clients are meant by their names alone
    active = [each for each in active if each not in clients]
    if len(active) > 1:
        raise UsageError(f"More than one run is active: {', '.join(active)}. Name one: --name {active[0]}")
    if not known:
        raise UsageError("The cluster has no run yet. Start one: inv sweep grid.yaml")
    return (active or known)[0]


def follow(head: Host, name: str) -> Iterator[State]:
    """A run's state, whenever it changes, until it has ended.

    Raises:
        ClusterError: the connection broke; the run goes on.
    """
    script = f"cd {PATHS.code} && exec python3 -m sweepfleet.machine.head.follow {JOBS}/{name}"
    for line in head.lines("sh", "-c", script):
        try:
            yield State.of(json.loads(line))
        except ValueError:
            raise ClusterError(f"[head] The state of the run {name} cannot be read: {line[:200]}") from None


def state(head: Host, name: str) -> State:
    """A run's state now. Raises ClusterError as `names` does."""
    folder = folder_of(name)
    script = data_volume.needed('test -e "$1" && echo active || echo ended; cat "$2" 2>/dev/null || true')
    mark, _, text = head.ask("sh", "-c", script, "state", str(folder.active), str(folder.progress)).partition("\n")
    ended = {"ended": mark == "ended"}
    try:
        return State.of((json.loads(text) if text else {}) | ended)
    except ValueError:
        return State.of(ended)


def cancel(head: Host, name: str) -> str:
    """Stop a run: what is done is kept, what is in flight lands or is dropped, and its results are stored.

    Returns:
        why there are no results of it in the bucket; empty when they are there.
    """
    folder = folder_of(name)
    words = [str(folder.path), folder.unit, PATHS.facts]
    return head.ask("sh", "-uc", CANCEL, "cancel", *words, sudo=True, deadline_s=STORE_S).strip()


# As root: the driver lands and stores the results; where it could not, since it waited for workers or was killed,
# that is done in its place.
CANCEL = """
folder=$1 unit=$2 facts=$3
cd "$folder" || exit
touch cancelled
systemctl stop "$unit"
if test -x environment/bin/python; then
  set -a; . "$facts"; set +a
  PYTHONPATH=$folder/release/.sweepfleet/code PYTHONDONTWRITEBYTECODE=1 runuser -u sweepfleet -- \
    environment/bin/python -m sweepfleet.machine.head.snapshot "$folder" --last 2>&1
else
  echo "The run ${folder##*/} has no results yet."
fi
rm -f active cancelled
"""


def store(head: Host, name: str) -> None:
    """Have the head store what a run that goes on has so far; the run itself is not disturbed.

    Raises:
        ClusterError: it has nothing yet, or it cannot be stored.
    """
    words = [str(folder_of(name).path), PATHS.facts]
    answer = head.run("sh", "-euc", STORE, "store", *words, sudo=True, deadline_s=STORE_S)
    if answer.exit_code:
        raise ClusterError((answer.stderr or answer.stdout).strip() or f"The results of {name} could not be stored.")


STORE = """
folder=$1 facts=$2
cd "$folder"
test -x environment/bin/python || { echo "The run ${folder##*/} has no results yet." >&2; exit 1; }
set -a; . "$facts"; set +a
export PYTHONPATH=$folder/release/.sweepfleet/code PYTHONDONTWRITEBYTECODE=1
exec runuser -u sweepfleet -- environment/bin/python -m sweepfleet.machine.head.snapshot "$folder"
"""
