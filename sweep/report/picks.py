"""Which rows the page shows, and the failures put together by what went wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from grid.sweep import Metric
from sweep.report.scan import INDEX, METRIC, PARAM, Results, gather, plain, query

ROWS_MAX = 2000
CELLS_MAX = 120_000  # a sweep of 200 parameters embeds fewer rows, and says so
FAILED_SHARE = 0.5  # of the embedded rows, when there are too many failures for all of them
TEXT_MAX = 300  # characters in one cell of the table
GROUPS_MAX = 50
EXAMPLES_MAX = 5
ERROR_TEXT_MAX = 20_000  # characters of one error's text; its end says the most
DISTINCT_MESSAGES_MAX = 20_000  # failures beyond which numbers in a message no longer tell groups apart

LEADING, TRAILING = (
    ("point_id",),
    ("status", "replicate", "seed", "attempts", "infra_losses", "duration_s", "started", "worker",
     "git_commit", "code", "env_hash", "error_type", "error"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Failures of one kind: how many, a few of them by id, and one of them in full."""

    error_type: str
    message: str  # the last line of the first one's text
    count: int
    point_ids: tuple[str, ...]
    text: str


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
    if name == "error":
        values = _last_line(values)
    if values.dtype == pl.String:
        values = values.str.slice(0, TEXT_MAX)
    group = "param" if name.startswith(PARAM) else "metric" if name.startswith(METRIC) else "run"
    return {
        "name": name,
        "kind": kind,
        "group": group,
        "values": [plain(value) for value in values.to_list()],
    }


def _last_line(text: Any) -> Any:
    """The last line of an expression's or a series' text, without the space around it."""
    return text.str.strip_chars().str.split("\n").list.last().str.strip_chars()


def failures(results: Results) -> tuple[list[FailureGroup], int]:
    """The failures by error type and last line, most frequent first, and how many kinds were left out.

    With very many failures, or kinds, messages that differ only in their numbers count as one kind.
    """
    failed = (
        results.frame.select("status", "error_type", "error")
        .with_row_index(INDEX)
        .filter(pl.col("status") == "failed")
        .select(
            INDEX,
            kind=pl.col("error_type").fill_null("unknown error"),
            line=_last_line(pl.col("error").fill_null("")).str.slice(0, TEXT_MAX),
        )
    )
    total = int(query(failed.select(pl.len())).item())
    groups = _group(failed, masked=total > DISTINCT_MESSAGES_MAX)
    if len(groups) > GROUPS_MAX and total <= DISTINCT_MESSAGES_MAX:
        groups = _group(failed, masked=True)
    shown = groups.head(GROUPS_MAX)
    found = []
    for kind, count, rows in shown.select("kind", "count", "rows").iter_rows():
        ids = gather(results, ["point_id"], rows)["point_id"].to_list()
        text = gather(results, ["error"], rows[:1])["error"][0] or ""
        message = (text.strip().splitlines() or [""])[-1].strip()[:TEXT_MAX]
        if len(text) > ERROR_TEXT_MAX:
            cut = f"[the first {len(text) - ERROR_TEXT_MAX:,} characters are in results.parquet]"
            text = f"{cut}\n{text[-ERROR_TEXT_MAX:]}"
        found.append(FailureGroup(error_type=kind, message=message, count=count, point_ids=tuple(ids), text=text))
    return found, len(groups) - len(shown)


def _group(failed: pl.LazyFrame, *, masked: bool) -> pl.DataFrame:
    line = pl.col("line").str.replace_all(r"\d+(\.\d+)?([eE][-+]?\d+)?", "#") if masked else pl.col("line")
    return query(
        failed.group_by("kind", line.alias("line"))
        .agg(count=pl.len(), rows=pl.col(INDEX).head(EXAMPLES_MAX), first=pl.col(INDEX).min())
        .sort(["count", "first"], descending=[True, False])
    )
