"""`report.html`: one self-contained file made from a run's results, which asks the network for nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from sweepfleet.grid.space import Space
from sweepfleet.grid.sweep import Metric
from sweepfleet.grid.wording import counted
from sweepfleet.run.report import crosses, distributions, markup, picks
from sweepfleet.run.report.assemble import PLOTLY, assemble, write_page
from sweepfleet.run.report.axes import Axis, profile
from sweepfleet.run.report.configurations import configurations
from sweepfleet.run.report.failures import Failures, failures
from sweepfleet.run.report.history import history
from sweepfleet.run.report.importance import Importance, importance
from sweepfleet.run.report.printed import Texts, printed
from sweepfleet.run.report.sample import sample
from sweepfleet.run.report.scan import Results, open_results, query
from sweepfleet.run.report.sections import Found, paired, sections_of
from sweepfleet.run.report.utilisation import utilisation

SCRIPTS = (
    "page.js", "chart.js", "drawing.js", "statistics.js", "table.js", "parallel.js", "utilisation.js", "history.js",
    "scatter.js", "curves.js", "heatmap.js", "distribution.js", "start.js",
)  # fmt: skip


def write_report(
    folder_path: Path,
    *,
    results: Path,
    summary: Mapping[str, Any],
    manifest: Mapping[str, Any],
    metric: Metric | None,
    space: Space | None = None,
    output: Path | None = None,
) -> Path:
    """Write `report.html` into a run's folder, atomically, and return its path.

    `results` is the run's Parquet file, `summary` and `manifest` are the contents of the JSON files beside it, and
    `space` are the plan's points, where some may have no row yet; `output` is the file of what points printed.
    Statistics are over all rows; single rows are drawn for up to 2,000, and the table embeds as many. Raises
    OSError when the results cannot be read or the folder cannot be written.
    """
    pieces = _page(
        open_results(results), summary=summary, manifest=manifest, metric=metric, space=space, output=output
    )
    return write_page(folder_path / "report.html", pieces)


def _page(
    results: Results,
    *,
    summary: Mapping[str, Any],
    manifest: Mapping[str, Any],
    metric: Metric | None,
    space: Space | None,
    output: Path | None,
) -> list[str | bytes]:
    counts = dict(query(results.frame.group_by("status").agg(n=pl.len())).iter_rows())
    done, failed = int(counts.get("done", 0)), int(counts.get("failed", 0))
    # A command that found everything done has used no slots; the rows still say how many there were.
    slots = summary.get("slots") or query(results.frame.select(pl.col("worker").n_unique())).item() or None
    busy, clock = utilisation(results, slots=slots) or (None, None)  # first: it needs the most memory, and frees it
    known = profile(results)
    compared = configurations(results, metric, space=space)
    shares = None
    if compared is not None:
        own = [axis for axis in known.axes if axis.name in compared.keys]
        shares = importance(compared.values(results), own)
    axes = _ordered(known.axes, shares, metric)
    found_metrics = crosses.numeric_metrics(results, metric.name if metric else None)
    metrics = found_metrics[: crosses.METRICS_MAX]
    complete = compared.complete(results) if compared else None
    drawn = sample(results, axes, metrics, clock=clock, complete=complete) if metrics and results.rows else None
    embedded = None
    if drawn and axes and drawn["shown"] < drawn["total"]:
        rows = results.frame if complete is None else pl.concat([results.frame, _column(complete)], how="horizontal")
        embedded = crosses.crosses(rows if complete is None else rows.filter("complete"), axes, metrics)
    own_metric = bool(metric and metric.name in metrics)
    data: dict[str, Any] = {
        "metric": {"name": metric.name, "goal": metric.goal, "over": list(metric.over)} if metric else None,
        "axes": [axis.to_json() for axis in axes],
        "metrics": list(metrics),
        "sample": drawn,
        "incomplete": len(compared.incomplete) if compared and complete is not None else 0,
        "crosses": embedded,
        "history": history(results, compared, clock) if compared and drawn and own_metric else None,
        "distributions": distributions.distributions(results, metrics),
        "utilisation": busy,
        "table": picks.table(results, metric, fixed=tuple(known.fixed)) if results.rows else None,
    }
    groups, more = failures(results) if failed else ([], 0)
    words = printed(output, _asked(groups, data["table"]))
    if data["table"]:
        data["table"]["printed"] = _by_row(data["table"], words)
        data["table"]["run"] = str(summary.get("name") or manifest.get("name") or "")
    found = Found(
        results=results, data=data, axes=axes, known=known, compared=compared, shares=shares, metric=metric,
        failed=failed, groups=groups, groups_left_out=more, printed=words,
        metrics_left_out=len(found_metrics) - len(metrics),
    )  # fmt: skip
    sections = sections_of(found, summary=summary, manifest=manifest)
    left = int(summary.get("points") or 0) - done - failed
    body = [
        markup.header(summary=summary, manifest=manifest, done=done, failed=failed),
        markup.notes(_notes(summary, manifest=manifest, left=left)),
        '<noscript><p class="note">Charts and the table of rows need JavaScript.</p></noscript>',
        "<nav>" + "".join(f'<a href="#{each.name}">{each.title}</a>' for each in sections) + "</nav>",
        "" if results.rows else '<p class="empty">No point has finished yet.</p>',
        *paired(sections),
    ]
    name = str(summary.get("name") or manifest.get("name") or "sweep")
    libraries = [PLOTLY] if any(data[key] for key in ("sample", "distributions", "utilisation")) else []
    body_text = "\n".join(filter(None, body))
    return assemble(title=f"{name} · sweepfleet", body=body_text, data=data, scripts=SCRIPTS, libraries=libraries)


def _asked(groups: Sequence[Failures], table: Mapping[str, Any] | None) -> Iterator[tuple[str, float]]:
    """The points whose output the page includes, in order: one of each cause, failed points, then others.

    Each is an attempt: the point's id, and when it began.
    """
    yield from ((group.point_ids[0], group.started) for group in groups if group.point_ids)
    if table:
        rows = list(zip(*(_values(table, name) for name in ("point_id", "started", "status")), strict=True))
        for failed in (True, False):
            yield from ((id_, started) for id_, started, status in rows if (status == "failed") == failed)


def _by_row(table: Mapping[str, Any], words: Texts) -> dict[str, str]:
    """What rows of the table printed, by their number."""
    return {str(row): words.texts[id_] for row, id_ in enumerate(_values(table, "point_id")) if id_ in words.texts}


def _values(table: Mapping[str, Any], name: str) -> list[Any]:
    found: list[Any] = next(column["values"] for column in table["columns"] if column["name"] == name)
    return found


def _column(values: pl.Series) -> pl.LazyFrame:
    return pl.LazyFrame({"complete": values})


def _ordered(axes: tuple[Axis, ...], shares: Importance | None, metric: Metric | None) -> tuple[Axis, ...]:
    """The parameters that matter most first; those that the best is a mean over last."""
    place = {share.axis.name: number for number, share in enumerate(shares.shares)} if shares else {}
    over = metric.over if metric else ()
    return tuple(sorted(axes, key=lambda axis: (axis.name in over, place.get(axis.name, len(place)))))


def _notes(summary: Mapping[str, Any], *, manifest: Mapping[str, Any], left: int) -> list[str]:
    lines = [str(line) for line in summary.get("notes") or ()]
    if summary.get("state") in ("interrupted", "stopped") and left > 0:
        command = manifest.get("command_line")
        words = " ".join(map(str, command)) if isinstance(command, list | tuple) else command
        again = f": {words}" if words else "."
        about = "" if summary.get("points_exact", True) else "About "
        lines.append(
            f"{about}{counted(left, 'point')} {'is' if left == 1 else 'are'} still to run. The same command "
            f"resumes{again}"
        )
    return lines
