"""Runs on the cluster: handed over to the head, followed from wherever one is, fetched when they have ended."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fleet.cloud import Cloud, told
from fleet.errors import ClusterError
from fleet.push import Pushed
from fleet.remote import Host
from grid.errors import UsageError
from grid.space import Space
from grid.sweep import Sweep
from infra.layout import BucketLayout, MachinePaths
from infra.outputs import Outputs
from worker.machine.job import Job, JobFolder

PATHS = MachinePaths()
JOBS = f"{PATHS.data}/jobs"
FETCHED = ".fetched.json"  # in a run's folder here: from which stack it came


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

    @classmethod
    def of(cls, said: dict[str, Any]) -> State:
        """Out of a line of `worker.machine.follow`."""
        return cls(
            state=said.get("state", "starting"),
            ended=bool(said.get("ended")),
            progress=said.get("progress"),
            best=said.get("best", ""),
            waiting_for=said.get("waiting_for", ""),
            exit_code=said.get("exit_code"),
            error=said.get("error", ""),
            summary=said.get("summary") or {},
        )


def folder_of(name: str) -> JobFolder:
    """A job's folder on the head."""
    return JobFolder(Path(JOBS, name))


def submit(
    head: Host,
    sweep: Sweep,
    release: Pushed,
    *,
    root: Path,
    command_line: str,
    retry_failed: bool,
    workers: int | None,
    max_workers: int,
    files: list[Path],
    usd_per_worker_hour: float | None = None,
    budget_usd: float | None = None,
) -> int:
    """Hand a sweep over to the head, which runs it from now on by itself.

    Args:
        head: an open connection.
        sweep: checked here already.
        release: whose code it runs.
        root: of the checkout.
        command_line: as typed.
        retry_failed: run failed points again, too.
        workers: at most so many; None: as many as it can use.
        max_workers: the stack's.
        files: the grid's points files.
        usd_per_worker_hour: what a worker costs at most; None: not known, so no budget can be held.
        budget_usd: what the run may cost; then it stops.

    Returns:
        how many workers it asks for.

    Raises:
        UsageError: a run of this name goes on; or the grid is outside the project.
    """
    if not sweep.source.is_relative_to(root):
        raise UsageError(
            f"{sweep.source} is outside the project {root}, so its code cannot be on the cluster. Put it into it."
        )
    folder = folder_of(sweep.name)
    if head.run("test", "-e", str(folder.wanted)).exit_code == 0:
        raise UsageError(
            f"The run {sweep.name} goes on already. Watch it: inv attach --name {sweep.name}; stop it: inv cancel"
        )
    count = Space(sweep.plan).count()
    limit = sweep.execution.max_parallel or count.points
    wanted = max(1, min(count.points, limit, max_workers, workers or max_workers))
    job = Job(
        name=sweep.name,
        release=release.sha256,
        environment=release.lock,
        engine=release.engine,
        grid=sweep.source.relative_to(root).as_posix(),
        command_line=command_line,
        submitted=time.time(),
        retry_failed=retry_failed,
        workers_wanted=wanted,
        usd_per_worker_hour=usd_per_worker_hour,
        budget_usd=budget_usd,
    )
    incoming = head.ask("mktemp", "-d").strip()
    head.write(sweep.text, f"{incoming}/grid.yaml")
    head.write(job.to_json(), f"{incoming}/job.json")
    for file in files:
        head.put(file, f"{incoming}/{file.name}")
    head.ask("sh", "-euc", TAKE_OVER, "take-over", incoming, str(folder.path), sweep.name, sudo=True)
    return wanted


# As root: the job's files in place, whole, and then the mark that makes it a run.
TAKE_OVER = """
incoming=$1 folder=$2 name=$3
rm -rf "$folder.new" && mkdir -p "$folder.new/grid"
mv "$incoming/job.json" "$folder.new/"
mv "$incoming"/* "$folder.new/grid/"
rmdir "$incoming"
touch "$folder.new/wanted"
chown -R sweepfleet:sweepfleet "$folder.new" && chmod -R u=rwX,go=rX "$folder.new"
rm -rf "$folder" && mv "$folder.new" "$folder"
systemctl reset-failed "sweepfleet-run@$name.service" 2>/dev/null || true
systemctl start --no-block "sweepfleet-run@$name.service"
"""


def names(head: Host, *, going_on: bool = False) -> list[str]:
    """The runs that the head knows, those submitted last first; `going_on`: only those that have not ended."""
    mark = "wanted" if going_on else "job.json"
    found = head.ask("sh", "-c", f"ls -1td {JOBS}/*/{mark} 2>/dev/null || true")
    return [Path(line).parent.name for line in found.splitlines()]


def which(head: Host, name: str) -> str:
    """The run that a command means: as named, else the one that goes on, else the last one.

    Raises:
        UsageError: there is none, or more than one goes on.
    """
    known = names(head)
    if name:
        if name not in known:
            raise UsageError(f"The cluster has no run {name}. It has: {', '.join(known[:10]) or 'none'}")
        return name
    going_on = names(head, going_on=True)
    if len(going_on) > 1:
        raise UsageError(f"More than one run goes on: {', '.join(going_on)}. Name one: --name {going_on[0]}")
    if not known:
        raise UsageError("The cluster has no run yet. Start one: inv sweep --grid examples/diabetes/grid.yaml")
    return (going_on or known)[0]


def follow(head: Host, name: str) -> Iterator[State]:
    """A run's state, whenever it changes, until it has ended.

    Raises:
        ClusterError: the connection broke; the run goes on.
    """
    script = f"cd {PATHS.current} && exec python3 -m worker.machine.follow {JOBS}/{name}"
    for line in head.lines("sh", "-c", script):
        try:
            yield State.of(json.loads(line))
        except ValueError:
            raise ClusterError(f"[head] what it says of the run {name} cannot be read: {line[:200]}") from None


def state(head: Host, name: str) -> State:
    """A run's state now."""
    folder = folder_of(name)
    text = head.run("cat", str(folder.progress)).stdout
    ended = head.run("test", "-e", str(folder.wanted)).exit_code != 0
    try:
        return State.of((json.loads(text) if text else {}) | {"ended": ended})
    except ValueError:
        return State.of({"ended": ended})


def cancel(head: Host, name: str) -> None:
    """Stop a run: what is done is kept, what is in flight lands or is dropped, and its results are stored."""
    folder = folder_of(name)
    unit = f"sweepfleet-run@{name}.service"
    script = f"touch {folder.cancelled} && systemctl stop {unit}; rm -f {folder.wanted} {folder.cancelled}"
    head.ask("sh", "-c", script, sudo=True)


def fetch(cloud: Cloud, outputs: Outputs, name: str, *, runs: Path, say: Callable[[str], None]) -> Path:
    """Bring a run's folder here from the bucket; files appear whole, and what is here already and the same is left.

    Raises:
        UsageError: a run of this name was made here, or came from another stack; it is left alone.
        ClusterError: there are no results of it yet.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise UsageError(f"{name!r} is no run's name.")
    folder = runs / name
    mark = folder / FETCHED
    if folder.exists() and (not mark.exists() or json.loads(mark.read_text()).get("stack") != outputs.stack):
        raise UsageError(
            f"{folder} holds a run that does not come from the stack {outputs.stack}. Move it away, then: inv "
            f"results --fetch --name {name}"
        )
    s3 = cloud.client("s3")
    prefix = f"{BucketLayout().runs}{name}/"
    fetched = 0
    with told(f"fetch the run {name}"):
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=outputs.bucket, Prefix=prefix)
        objects = [one for page in pages for one in page.get("Contents", ())]
        if not objects:
            raise ClusterError(
                f"There are no results of {name} in the bucket yet; they are stored when it ends: inv status"
            )
        folder.mkdir(parents=True, exist_ok=True)
        mark.write_text(json.dumps({"stack": outputs.stack}) + "\n")
        for one in objects:
            place = folder / one["Key"].removeprefix(prefix)
            if not place.resolve().is_relative_to(folder.resolve()):
                continue
            same = (
                place.exists()
                and place.stat().st_size == one["Size"]
                and place.stat().st_mtime >= one["LastModified"].timestamp()
            )
            if same:
                continue
            place.parent.mkdir(parents=True, exist_ok=True)
            beside = place.with_name(f".{place.name}.part")
            s3.download_file(outputs.bucket, one["Key"], str(beside))
            beside.replace(place)
            fetched += one["Size"]
    say(f"Fetched {fetched / 1e6:,.1f} MB")
    return folder
