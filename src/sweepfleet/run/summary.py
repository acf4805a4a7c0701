"""summary.json: a run in numbers."""

from __future__ import annotations

import contextlib
import json
import resource
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from sweepfleet.grid.space import Space
from sweepfleet.grid.sweep import Metric
from sweepfleet.grid.wording import choices, close, counted
from sweepfleet.run.causes import failure_groups
from sweepfleet.run.codes import codes_note
from sweepfleet.run.ledger import Ledger
from sweepfleet.run.run_progress import Progress, Stop
from sweepfleet.run.text import duration_each, years

MAX_FAILURE_KINDS = 20  # shown separately
# What a summary says of its command, while all else is of the run.
ACCOUNT = (
    *("computed", "resumed", "retried", "infra_losses", "wall_s", "busy_s", "slots", "efficiency", "points_per_s"),
    *("first_result_s", "total_s", "peak_rss_mb", "start"),
)
State = Literal["done", "failed", "partial", "stopped", "interrupted"]


@dataclass(frozen=True, slots=True)
class Summary:
    """A run in numbers; times in seconds, memory in MB (10^6 bytes)."""

    name: str
    state: State
    points: int  # of the plan; an estimate while `points_exact` is false
    points_exact: bool
    done: int  # all finished ones, the resumed included
    failed: int
    computed: int  # ended by this command
    resumed: int  # found done
    retried: int
    infra_losses: int
    wall_s: float  # from the first bundle sent to the last result
    busy_s: float  # that points took in this command, added up
    slots: float  # that the run had, on average: without what other runs held of the cluster's
    efficiency: float | None  # busy_s / (slots * wall_s)
    points_per_s: float | None
    first_result_s: float | None  # after the command began
    total_s: float  # the whole command, so far
    peak_rss_mb: float  # of the driver
    best: (
        dict[str, Any] | None
    )  # the first configuration of sweepfleet.run.ranking: its params, mean, sd, n of `of` points
    notes: list[str] = field(default_factory=list)
    plan: str = ""  # its digest
    failures: list[dict[str, Any]] = field(default_factory=list)  # by cause, the most frequent first: `FailureGroup`
    failure_kinds: int = 0  # causes that there are
    start: dict[str, Any] | None = None  # a `slot.source.Start` of the slots; None: this command started none

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> Summary | None:
        """The summary that `to_dict` gave; None for anything else, or another version."""
        if set(found) != {each.name for each in fields(cls)} or "mean" not in (found["best"] or ["mean"]):
            return None
        return cls(**found)

    def to_dict(self) -> dict[str, Any]:
        """The content of summary.json."""
        return asdict(self)

    def with_account_of(self, other: Summary) -> Summary:
        """The same run, with the account of another command."""
        return replace(self, **{name: getattr(other, name) for name in ACCOUNT})


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts of a command that are not in the ledger."""

    metric: Metric | None
    chosen: tuple[str, ...] = ()  # conditions: the command computes what meets them
    warnings: tuple[str, ...] = ()
    progress: Progress | None = None  # None: there was nothing to do
    stop: Stop | None = None  # why it stopped early
    born_s: float = field(default_factory=time.time)  # unix time at which the command began
    driver_peak_rss_mb: float = 0.0
    start: dict[str, Any] | None = None  # a `slot.source.Start` of the slots

    def to_json(self) -> str:
        """The facts as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Facts:
        """The facts that `to_json` wrote."""
        raw = json.loads(text)
        progress = Progress(**raw.pop("progress")) if raw["progress"] else raw.pop("progress")
        metric, warnings, chosen = raw.pop("metric"), raw.pop("warnings"), raw.pop("chosen")
        metric = Metric.read(metric)
        return cls(metric=metric, warnings=tuple(warnings), chosen=tuple(chosen), progress=progress, **raw)


def summarize(name: str, space: Space, ledger: Ledger, facts: Facts, *, best: dict[str, Any] | None) -> Summary:
    """The summary of the ledger and this command.

    Args:
        name: the run's.
        space: its points.
        ledger: what has ended.
        facts: of this command.
        best: as `best_of` finds it.
    """
    done, failed = ledger.counts()
    progress = facts.progress or Progress(total=done + failed, exact=True, resumed=done)
    count = space.count() if facts.chosen else None
    left = max(0, count.points - done - failed) if count else 0
    again = sum(ledger.redo_left())
    # An estimate that has been reached says nothing of what is left.
    ended_all = facts.stop is None and not left and not again and (count is None or count.exact)
    state: State = "partial" if not ended_all else "done"
    if progress.failed if facts.chosen else failed:
        state = "failed"
    if facts.stop is not None:
        state = "interrupted" if facts.stop == "interrupted" else "stopped"
    groups = failure_groups(ledger.failures()) if failed else []
    return Summary(
        name=name,
        state=state,
        points=done + failed if ended_all else max(count.points if count else progress.total, done + failed),
        points_exact=ended_all or (count or progress).exact,
        done=done,
        failed=failed,
        computed=progress.computed,
        resumed=progress.resumed,
        retried=progress.retried,
        infra_losses=progress.losses,
        wall_s=progress.wall_s,
        busy_s=progress.busy_s,
        slots=progress.mean_slots,
        efficiency=progress.efficiency,
        points_per_s=progress.computed / progress.wall_s if progress.wall_s > 0 else None,
        first_result_s=None if progress.first_result_s is None else progress.first_result_s - facts.born_s,
        total_s=time.time() - facts.born_s,
        peak_rss_mb=facts.driver_peak_rss_mb,
        best=best,
        notes=_notes(facts, space, ledger, best=best is not None),
        plan=space.plan.digest(),
        failures=[asdict(group) for group in groups[:MAX_FAILURE_KINDS]],
        failure_kinds=len(groups),
        start=facts.start,
    )


def best_of(metric: Metric | None, space: Space, ledger: Ledger, table: Path) -> dict[str, Any] | None:
    """The best configuration, as the summary has it; None without one.

    `table` is results.parquet, as written from this ledger.
    """
    if metric is None:
        return None
    import polars as pl

    from sweepfleet.run.ranking import rank
    from sweepfleet.run.results import opened

    ranked = rank(opened(table), metric, space=space, top=1).filter(pl.col("mean").is_not_null())
    if ranked.is_empty():
        return None
    found = ranked.row(0, named=True)
    point = space.point(ledger.index_of(found["point_id"]))
    return {
        "metric": metric.name,
        "goal": metric.goal,
        "over": list(metric.over),
        "params": {name: value for name, value in point.params.items() if name not in metric.over},
        "mean": _exact(found, metric, table),
        "sd": found["sd"],
        "n": found["n"],  # rows that the mean is of
        "of": found["of"],  # points that the configuration has; more than n where some failed or have not run
        "point_id": point.id,  # of its first point
    }


def _exact(found: Mapping[str, Any], metric: Metric, table: Path) -> float | int:
    """The mean; of one value, that value with all its digits."""
    import polars as pl

    from sweepfleet.run.columns import number

    mean: float = found["mean"]
    if found["of"] > 1 or abs(mean) < 1 << 53:
        return mean
    cell = pl.col(f"metric.{metric.name}")
    value = pl.scan_parquet(table).filter(pl.col("point_id") == found["point_id"]).select(cell).collect().item()
    value = number(value) if isinstance(value, str) else value
    return value if isinstance(value, int) else mean


def _notes(facts: Facts, space: Space, ledger: Ledger, *, best: bool) -> list[str]:
    notes = list(facts.warnings)
    if facts.stop == "budget":
        notes.append(
            "The sweep has reached its budget, and was stopped. Finished points are kept; the same command "
            "resumes, with the same amount again. For more at once: execution.max_cost in the grid; or, where "
            "the stack allows less, pulumi config set budgetUsd, then inv up"
        )
    if facts.stop == "too long" and (progress := facts.progress):
        notes.append(
            f"The first points took {duration_each(progress.mean_s)} each; the {progress.left:,} points left would "
            f"take {years(progress.left_s)} on {counted(progress.slots, 'slot')}, so the sweep stopped. To run them: "
            "the same command with --yes"
        )
    if facts.progress is not None and facts.progress.why:
        notes.append(facts.progress.why)
    if facts.chosen and (progress := facts.progress):
        count = space.count()
        left, about = max(0, count.points - sum(ledger.counts())), "" if count.exact else "about "
        if left:
            notes.append(
                f"--where chose {'' if progress.exact else 'about '}{counted(progress.total, 'point')}; "
                f"{about}{left:,} of the grid have not run. To run them: the same command without --where"
            )
    again = sum(ledger.redo_left())
    if again:
        notes.append(
            f"{counted(again, 'point')} {'is' if again == 1 else 'are'} still to be computed again; until then the "
            "old rows stay. To resume: the same command without --redo"
        )
    codes = codes_note(ledger)
    if codes:
        notes.append(codes)
    former = ledger.former()
    if former:
        notes.append(
            f"{counted(former, 'row')} of points that are no longer in the grid: kept in the ledger, not in "
            "the tables."
        )
    seeds = ledger.seed_changed()
    if seeds:
        notes.append(
            f"`seed:` was changed ({seeds}) after some points had been computed. A point's id does not depend "
            "on it, so they were not run again; each row has its own in the column `seed`."
        )
    if facts.progress is not None and facts.progress.computed and ledger.has_long_seeds():
        notes.append(
            "Rows of an earlier version of sweepfleet have seeds of 32 bits; now a point's seed has 31 bits, and is "
            "another number. No finished point was run again; each row has its own in the column `seed`."
        )
    if facts.metric is not None and not best and ledger.counts().done:
        notes.append(_no_best(facts.metric.name, list(ledger.metric_names())))
    return notes


def _no_best(name: str, names: list[str]) -> str:
    if name in names or not names:
        return f"No finished point has a finite metric {name!r}, so there is no best configuration."
    meant = close(name, names)
    hint = f" Did you mean `{meant}`?" if meant else ""
    return (
        f"No finished point returns the metric {name!r}, so there is no best configuration. They return "
        f"{choices(names)}.{hint} Correct metric.name in the grid and run the same command: no point runs again."
    )


def peak_rss_mb() -> float:
    """The most memory this process has held, in MB."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError), open("/proc/self/status") as lines:  # noqa: PTH123 - a kernel file
            for line in lines:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024 / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6
