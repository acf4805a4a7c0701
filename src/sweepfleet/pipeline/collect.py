"""What came of the sweeps that the pipeline has handed over: told once, when each has ended."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from sweepfleet.fleet.fleet import Fleet
from sweepfleet.fleet.reach.bucket import get_json
from sweepfleet.fleet.reach.cloud import asking_aws
from sweepfleet.grid.errors import SweepfleetError
from sweepfleet.grid.sweep import Metric
from sweepfleet.infra.layout import BucketLayout
from sweepfleet.machine.facts import KEYS
from sweepfleet.pipeline.markdown import table, text
from sweepfleet.pipeline.marks import Mark, Marks
from sweepfleet.run.folder import RunFolder, read_json
from sweepfleet.run.query import select
from sweepfleet.run.ranking import MEASURES
from sweepfleet.run.say import STATES
from sweepfleet.run.summary import Summary
from sweepfleet.run.text import dollars, duration, hours_text

BEST = 5
MOST_BYTES = 200_000_000  # of a file that becomes an artifact
REFUSED = 2  # the exit code of a sweep of which nothing was run


@dataclass(frozen=True, slots=True)
class End:
    """How a run ended, and what of it is here."""

    mark: Mark
    exit_code: int
    error: str
    usd: float | None
    budget_usd: float | None
    worker_hours: float
    summary: Summary | None
    best: pl.DataFrame | None
    where: str  # of all results, in the bucket


def collect(fleet: Fleet, *, into: Path) -> tuple[list[End], list[Mark]]:
    """Bring what has ended since the last time.

    Args:
        fleet: the cluster.
        into: the folder for `<run>/report.html`, tables and summary.

    Returns:
        the runs that have ended, and the marks of those that go on. `mark_reported` is to be called when it was told.

    Raises:
        ClusterError: AWS refuses.
    """
    ended, active = [], []
    for mark in Marks(fleet.cloud, fleet.outputs).all():
        if mark.collected:
            continue
        said = get_json(
            fleet.cloud, fleet.outputs.bucket, KEYS.ended(mark.name), doing=f"look for the end of {mark.name}"
        )
        if said is None or said["submitted"] < mark.submitted:  # of the command before
            if mark.volume == fleet.outputs.data_volume_id:  # else it went with its cluster
                active.append(mark)
        else:
            ended.append(_end(fleet, mark, said, into=into))
    return ended, active


def mark_reported(fleet: Fleet, ends: list[End]) -> None:
    """Do not tell of these again; one that was refused is handed over again the next time."""
    marks = Marks(fleet.cloud, fleet.outputs)
    for end in ends:
        now = marks.get(end.mark.name)
        if now is not None and now.submitted == end.mark.submitted:  # else it was handed over again meanwhile
            again = "" if end.exit_code == REFUSED else now.digest
            marks.put(replace(now, collected=True, digest=again))


def _end(fleet: Fleet, mark: Mark, said: dict[str, Any], *, into: Path) -> End:
    folder = RunFolder(into / mark.name)
    prefix = f"{BucketLayout().runs}{mark.name}/"
    summary = rows = None
    error = said["error"]
    if said["exit_code"] != REFUSED:
        try:
            summary, rows = _brought(fleet, prefix, folder)
        except SweepfleetError as reason:  # of one run: the others are told nonetheless
            error = f"{error} Its results cannot be shown: {reason}".strip()
    return End(
        mark=mark,
        exit_code=said["exit_code"],
        error=error,
        usd=said["usd"],
        budget_usd=said["budget_usd"],
        worker_hours=said["worker_hours"],
        summary=summary,
        best=rows,
        where=f"s3://{fleet.outputs.bucket}/{prefix}",
    )


def _brought(fleet: Fleet, prefix: str, folder: RunFolder) -> tuple[Summary | None, pl.DataFrame | None]:
    """A run's summary and its best rows; its files are in `folder` then, but for those that are too large."""
    folder.path.mkdir(parents=True, exist_ok=True)
    for file in (folder.report, folder.summary, folder.csv, folder.parquet, folder.long):
        _fetch(fleet, f"{prefix}{file.name}", file)
    summary = Summary.of(read_json(folder.summary))
    best = summary.best if summary else None
    if summary is None or not best or not folder.parquet.exists():
        return summary, None
    complete = summary.done + summary.failed >= summary.points
    if not complete and (best["over"] or best["of"] > 1):
        # Without the plan, which is not here, a configuration of which only some points have run looks complete.
        return summary, _only(best)
    return summary, select(folder.parquet, where=None, best=BEST, metric=Metric.read(best | {"name": best["metric"]}))


def _only(best: Mapping[str, Any]) -> pl.DataFrame:
    """The summary's best configuration as a table."""
    params = {
        f"param.{name}": json.dumps(value) if isinstance(value, list | dict) else value
        for name, value in best["params"].items()
    }
    return pl.DataFrame([params | {name: best[name] for name in MEASURES}])


def _fetch(fleet: Fleet, key: str, file: Path) -> None:
    """Bring a file that may not be there, or be too large for an artifact: the whole run's is in the bucket."""
    s3 = fleet.cloud.client("s3")
    with asking_aws(f"fetch {key}"):
        try:
            answer = s3.get_object(Bucket=fleet.outputs.bucket, Key=key)
        except s3.exceptions.NoSuchKey:
            return
        if answer["ContentLength"] <= MOST_BYTES:
            file.write_bytes(answer["Body"].read())
        else:
            answer["Body"].close()


def summary_part(ends: list[End], active: list[Mark]) -> str:
    """What is to be read in the job's summary; Markdown."""
    lines: list[str] = []
    for end in ends:
        lines += [*_lines(end), ""]
    if active:
        names = ", ".join(f"**{text(mark.name)}**" for mark in active)
        lines += [f"Active: {names}.", ""]
    if not lines:
        lines = ["No sweep has ended since the last check.", ""]
    return "\n".join(lines)


def _lines(end: End) -> Iterator[str]:
    sign = "✅" if end.exit_code == 0 else "❌"
    yield f"### {sign} Sweep {text(end.mark.name)}"
    yield ""
    yield f"Of {text(end.mark.grid)} at commit {text(end.mark.commit[:10])}."
    yield ""
    if end.error:
        yield f"**{text(end.error, most=2000)}**"
        yield ""
    summary = end.summary
    if summary is not None:
        cost = "unknown" if end.usd is None else f"at most {dollars(end.usd)} USD"
        rows = [
            ("State", STATES[summary.state]),
            ("Points done", f"{summary.done:,} of {summary.points:,}"),
            ("Failed", f"{summary.failed:,}"),
            ("Computed now", f"{summary.computed:,}"),
            ("Wall time", duration(summary.wall_s)),
            ("Cost", f"{cost} ({hours_text(end.worker_hours)})"),
        ]
        yield from table(("", ""), rows, right=(1,))
        for note in summary.notes:
            yield f"\nNote: {text(note, most=2000)}"
        yield ""
    if end.best is not None and summary is not None and summary.best is not None:
        yield f"Best by {text(summary.best['metric'])}, {summary.best['goal']}:"
        yield ""
        yield from _best(end.best)
        yield ""
    if end.exit_code == REFUSED:
        yield "Nothing was run. The next merge submits it again."
        return
    yield f"All results: `{end.where}`, or `inv results --fetch --name {end.mark.name}`."


def _best(rows: pl.DataFrame) -> Iterator[str]:
    columns = [name for name in rows.columns if name.startswith(("param.", "metric.")) or name in MEASURES]
    head = [text(name.removeprefix("param.").removeprefix("metric.")) for name in columns]
    cells = ([_cell(value) for value in row] for row in rows.select(columns).iter_rows())
    right = [number for number, name in enumerate(columns) if rows[name].dtype.is_numeric()]
    yield from table(head, cells, right=right)


def _cell(value: Any) -> str:
    if isinstance(value, int | float):
        return f"{value:.6g}" if isinstance(value, float) else str(value)
    return "" if value is None else text(value)
