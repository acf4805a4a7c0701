"""Which rows the page shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import polars as pl

from sweepfleet.grid.sweep import Metric
from sweepfleet.run.causes import failure_line
from sweepfleet.run.report.scan import INDEX, METRIC, PARAM, Results, gather, plain, query

ROWS_MAX = 2000
CELLS_MAX = 120_000  # a sweep of 200 parameters embeds fewer rows, and says so
FAILED_SHARE = 0.5  # of the embedded rows, when there are too many failures for all of them
EXACT = 2**53  # beyond, a browser's numbers skip some
TEXT_MAX = 300  # characters in one cell of the table

LEADING, TRAILING = (
    ("point_id",),
    ("status", "replicate", "seed", "attempts", "infra_losses", "duration_s", "started", "worker",
     "git_commit", "code", "env_hash", "error_type", "error"),
)  # fmt: skip


def best_rows(results: Results, metric: Metric | None, count: int) -> list[int]:
    """Positions of the best finished rows, best first; ties in the file's order.

    [] when there is no metric or it is not a number; infinities and NaN are never the best.
    """
    if metric is None or not results.is_number(METRIC + metric.name):
        return []
    value = pl.col(METRIC + metric.name).cast(pl.Float64)
    ranked = query(
        results.frame.select(rank=value, done=pl.col("status") == "done")
        .with_row_index(INDEX)
        .filter(pl.col("done") & pl.col("rank").is_finite())
        .sort(["rank", INDEX], descending=[metric.goal == "maximize", False])
        .head(count)
        .select(INDEX)
    )
    return ranked[INDEX].to_list()


def table(results: Results, metric: Metric | None, *, fixed: Sequence[str]) -> dict[str, Any]:
    """The embedded rows as columns: failures and the best first, then others in the file's order.

    Parameters named in `fixed` have one value all over and are left to the page's text.
    """
    params = [PARAM + name for name in results.params if name not in set(fixed)]
    names = [*LEADING, *params, *(METRIC + name for name in results.metrics), *TRAILING]
    names = [name for name in names if name in results.schema]
    limit = max(100, min(ROWS_MAX, CELLS_MAX // len(names)))
    rows = _choose(results, metric, limit) if results.rows else []
    frame = gather(results, names, rows)
    dull = ("infra_losses", "attempts", "replicate", "git_commit", "code", "env_hash", "error_type", "error")
    names = [name for name in names if name not in dull or frame[name].n_unique() > 1]
    short = Counter(map(_short, names))
    lines = pl.Series(
        "error", [failure_line(*each) if each[1] else None for each in frame["error_type", "error"].iter_rows()]
    )
    frame = frame.with_columns(lines.cast(pl.String))
    return {
        "columns": [
            # a metric called like a parameter keeps its whole name
            {**_column(name, frame[name]), "label": _short(name) if short[_short(name)] == 1 else name}
            for name in names
        ],
        "shown": len(rows),
        "total": results.rows,
        "sort": METRIC + metric.name if metric and METRIC + metric.name in names else None,
        "descending": bool(metric and metric.goal == "maximize"),
    }


def _choose(results: Results, metric: Metric | None, limit: int) -> list[int]:
    if results.rows <= limit:
        return list(range(results.rows))
    status = results.frame.select(failed=pl.col("status") == "failed").with_row_index(INDEX)
    failed = query(status.filter("failed").select(INDEX).head(limit))[INDEX].to_list()
    done = best_rows(results, metric, limit)
    if len(done) < limit:
        seen = set(done)
        others = query(status.filter(~pl.col("failed")).select(INDEX).head(limit))[INDEX].to_list()
        done = (done + [row for row in others if row not in seen])[:limit]
    room = max(int(limit * FAILED_SHARE), limit - len(done))
    failed = failed[:room]
    return sorted(failed + done[: limit - len(failed)])


def _short(name: str) -> str:
    return name.removeprefix(PARAM).removeprefix(METRIC)


def _column(name: str, values: pl.Series) -> dict[str, Any]:
    kind = "number" if values.dtype.is_numeric() else "text"
    if name == "started":
        kind = "time"
    if values.dtype == pl.String:
        values = values.str.slice(0, TEXT_MAX)
    group = "param" if name.startswith(PARAM) else "metric" if name.startswith(METRIC) else "run"
    return {
        "name": name,
        "kind": kind,
        "float": values.dtype.is_float(),
        "group": group,
        "values": _plain(values),
    }


def _plain(values: pl.Series) -> list[Any]:
    """A column as JSON can carry it; value by value only where there is one that it cannot."""
    if values.dtype.is_float():
        fits = bool(values.is_finite().all())
    elif values.dtype.is_integer():
        fits = bool((values.cast(pl.Float64).abs() <= EXACT).all())
    else:
        fits = values.dtype in (pl.String, pl.Boolean)
    return values.to_list() if fits else [plain(value) for value in values.to_list()]
