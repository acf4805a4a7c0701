"""The failures put together by their cause."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from sweepfleet.run.causes import cause, failure_line
from sweepfleet.run.report.scan import INDEX, Results, gather, query

GROUPS_MAX = 50
EXAMPLES_MAX = 5
TEXTS_MAX = 20_000  # errors that differ in more than their digits; rarer ones beyond are one kind
ERROR_TEXT_MAX = 20_000  # characters of one error's text; its end says the most


@dataclass(frozen=True, slots=True)
class Failures:
    """Failures of one cause: how many, a few of them by id, and one of them in full."""

    error_type: str
    line: str  # of the first of them: its type and what it says
    count: int
    point_ids: tuple[str, ...]
    started: float  # when the attempt at the first of them began, unix time
    text: str  # of the first of them


@dataclass(slots=True)
class _Group:
    kind: str
    line: str
    count: int
    rows: list[int]


def failures(results: Results) -> tuple[list[Failures], int]:
    """The failures by cause, most frequent first, and the number of causes not shown."""
    groups = _groups(results)
    found = []
    for group in groups[:GROUPS_MAX]:
        ids = gather(results, ["point_id"], group.rows)["point_id"].to_list()
        (text, started) = gather(results, ["error", "started"], group.rows[:1]).row(0)
        text = text or ""
        if len(text) > ERROR_TEXT_MAX:
            cut = f"[the first {len(text) - ERROR_TEXT_MAX:,} characters are in results.parquet]"
            text = f"{cut}\n{text[-ERROR_TEXT_MAX:]}"
        found.append(Failures(group.kind, group.line, group.count, tuple(ids), started, text))
    return found, max(0, len(groups) - GROUPS_MAX)


def _groups(results: Results) -> list[_Group]:
    failed = (
        results.frame.select("status", "error_type", "error")
        .with_row_index(INDEX)
        .filter(pl.col("status") == "failed")
        .select(INDEX, "error_type", "error", masked=pl.col("error").str.replace_all(r"\d+", "#"))
    )
    texts = query(
        failed.group_by("error_type", "masked")
        .agg(
            count=pl.len(),
            rows=pl.col(INDEX).head(EXAMPLES_MAX),
            first=pl.col(INDEX).min(),
            error=pl.col("error").sort_by(INDEX).first(),
        )
        .drop("masked")
        .sort(["count", "first"], descending=[True, False])
    )
    groups: dict[str, _Group] = {}
    for place, (kind, count, rows, _, error) in enumerate(texts.iter_rows()):
        key = cause(kind, error) if place < TEXTS_MAX else ""
        group = groups.get(key)
        if group is None:
            groups[key] = group = _Group(kind or "Error", failure_line(kind, error), 0, [])
        group.count += count
        group.rows = [*group.rows, *sorted(rows)][:EXAMPLES_MAX]
    return sorted(groups.values(), key=lambda group: -group.count)
