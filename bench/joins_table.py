"""What `bench.joins` measures at each count, and its table."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sample:
    """So many workers that started together."""

    workers: int
    share: float  # of a core, that each had
    all_s: float  # from the first start to the last join
    fetched_s: tuple[float, ...]  # each one's own time, from its start until release and environment are on its disk
    joined_s: tuple[float, ...]  # and from then until it has joined: what it needs the head for
    alone_s: tuple[float, ...]  # what as many machines at once need for the same work without cluster and bucket
    worker_cpu_s: float  # processor time of a worker, the mean
    head_cpu_s: float  # of the head, in all that time
    head_idle_cpu_s: float  # what it would have used in that time anyway
    head_sent_bytes: int  # by the head to anybody
    laptop_requests: int  # by the operator to AWS
    rig_cpu_s: float  # of the one process that stands in for S3 and the rest of AWS
    disk_written_bytes: int  # by all machines, to the one disk they have here
    busy_cores: float  # of this machine, by everything on it


def table(samples: Sequence[Sample]) -> Iterator[str]:
    """The curve, as a table in Markdown."""
    yield (
        "| Workers | All joined, s | Fetched, s | Then joined, s | Alone, s | Its CPU, s | Head's CPU, s "
        "| Head sent, kB | Rig's CPU, s | Written, GB | Busy cores |"
    )
    yield "|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
    for one in samples:
        head = f"{one.head_cpu_s:.0f} ({one.head_idle_cpu_s:.0f} without them)"
        yield (
            f"| {one.workers} | {one.all_s:.0f} | {spread(one.fetched_s)} | {spread(one.joined_s)} "
            f"| {spread(one.alone_s)} "
            f"| {one.worker_cpu_s:.1f} | {head} | {one.head_sent_bytes / 1000:,.0f} "
            f"| {one.rig_cpu_s:.0f} | {one.disk_written_bytes / 1e9:.1f} | {one.busy_cores:.1f} |"
        )


def spread(seconds: Sequence[float]) -> str:
    """The middle one, and between what they are."""
    return f"{statistics.median(seconds):.0f} ({min(seconds):.0f} to {max(seconds):.0f})"
