"""`report.html`: one self-contained file made from a run's results, which asks the network for nothing."""

from __future__ import annotations

import base64
import hashlib
import importlib.resources
import json
import os
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any

import polars as pl

from grid.sweep import Metric
from sweep.report import charts, markup, picks
from sweep.report.axes import Profile, profile
from sweep.report.scan import METRIC, PARAM, Results, gather, open_results, query
from sweep.report.utilisation import utilisation

BEST = 10
SCRIPTS_HERE = "<!--scripts-->"
SCRIPTS = ("page.js", "table.js", "parallel.js", "utilisation.js", "charts.js")


def write_report(
    folder_path: Path,
    *,
    results: Path,
    summary: Mapping[str, Any],
    manifest: Mapping[str, Any],
    metric: Metric | None,
) -> Path:
    """Write `report.html` into a run's folder, whole or not at all, and return its path.

    `results` is the run's Parquet file, `summary` and `manifest` are the contents of the JSON files beside
    it, and `metric` decides which of them are best. The charts are over all rows; the table embeds 2,000.
    Raises OSError when the results cannot be read or the folder cannot be written.
    """
    pieces = _page(open_results(results), summary=summary, manifest=manifest, metric=metric)
    path = folder_path / "report.html"
    beside = folder_path / f".report.html.{os.getpid()}"
    try:
        with beside.open("wb") as file:
            file.writelines(piece.encode("utf-8", "replace") for piece in pieces)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return path


def _page(
    results: Results,
    *,
    summary: Mapping[str, Any],
    manifest: Mapping[str, Any],
    metric: Metric | None,
) -> list[str]:
    counts = dict(query(results.frame.group_by("status").agg(n=pl.len())).iter_rows())
    done, failed = int(counts.get("done", 0)), int(counts.get("failed", 0))
    # A command that found everything done has used no slots; the rows still say how many there were.
    slots = summary.get("slots") or query(results.frame.select(pl.col("worker").n_unique())).item() or None
    busy = utilisation(results, slots=slots)  # first: it holds the most, and gives it back
    found = profile(results)
    metrics = charts.numeric_metrics(results, metric)
    data = {
        "metric": {"name": metric.name, "goal": metric.goal} if metric else None,
        "crosses": charts.crosses(results, found.axes, metrics),
        "distributions": charts.distributions(results, metrics),
        "parallel": charts.parallel(results, found.axes, metrics),
        "utilisation": busy,
        "table": picks.table(results, metric, fixed=tuple(found.fixed)) if results.rows else None,
    }
    sections = _sections(results, data=data, found=found, summary=summary, metric=metric, failed=failed)
    details = markup.run_details(summary=summary, manifest=manifest, fixed=found.fixed)
    sections.append(("details", "Run", _section("details", "How it was run", details)))
    body = [
        markup.header(summary=summary, manifest=manifest, done=done, failed=failed),
        markup.notes(_notes(summary, manifest=manifest, left=int(summary.get("points") or 0) - done - failed)),
        '<noscript><p class="note">Charts and the table of rows need JavaScript.</p></noscript>',
        "<nav>" + "".join(f'<a href="#{name}">{title}</a>' for name, title, _ in sections) + "</nav>",
        "" if results.rows else '<p class="empty">No point has finished yet.</p>',
        *_paired(sections),
    ]
    name = str(summary.get("name") or manifest.get("name") or "sweep")
    return _assemble(title=f"{name} · sweepfleet", body="\n".join(filter(None, body)), data=data)


def _notes(summary: Mapping[str, Any], *, manifest: Mapping[str, Any], left: int) -> list[str]:
    lines = [str(line) for line in summary.get("notes") or ()]
    if summary.get("state") in ("interrupted", "stopped") and left > 0:
        command = manifest.get("command_line")
        words = " ".join(map(str, command)) if isinstance(command, list | tuple) else command
        again = f": {words}" if words else "."
        about = "" if summary.get("points_exact", True) else "About "
        lines.append(
            f"{about}{left:,} points are still to run. The same command goes on where this one stopped{again}"
        )
    return lines


def _sections(
    results: Results,
    *,
    data: Mapping[str, Any],
    found: Profile,
    summary: Mapping[str, Any],
    metric: Metric | None,
    failed: int,
) -> list[tuple[str, str, str]]:
    """The sections there is something to show in: id, name in the navigation, markup."""
    sections = []
    best = picks.best_rows(results, metric, BEST)
    if best and metric:
        shown = [axis.name for axis in found.axes][: markup.BEST_PARAMS_MAX]
        varying = [name for name in results.params if name not in found.fixed]
        params = [name for name in varying if name in shown] or varying[: markup.BEST_PARAMS_MAX]
        names = [name for name in results.schema if name.startswith(METRIC) or name in ("replicate", "point_id")]
        frame = gather(results, [*names, *(PARAM + name for name in params)], best)
        left_out = len(varying) - len(params)
        table = markup.best_table(frame, metric=metric, params=params, left_out=left_out)
        sections.append(("best", "Best points", _section("best", "Best points", table)))
    crosses = data["crosses"]
    if crosses:
        lead = "The mean of all rows at each value, and a band over everything else."
        sections.append(("curves", "Curves", _plot("curves", "Curves", lead)))
        if len(crosses["axes"]) > 1:
            lead = "The mean of all rows in each cell, over everything else."
            sections.append(("heatmap", "Heatmap", _plot("heatmap", "Heatmap", lead)))
    if data["parallel"]:
        lead = "One line a row. Drag along an axis to keep only the lines that pass there; click it to let go."
        sections.append(("parallel", "Parallel coordinates", _plot("parallel", "Parallel coordinates", lead)))
    if data["distributions"]:
        sections.append(("distribution", "Distribution", _plot("distribution", "Distribution", "Over all rows.")))
    if data["utilisation"]:
        headline = _efficiency(data["utilisation"], summary)
        lead = "Slots at work, and points finished, from every row's start and duration."
        sections.append(("utilisation", "Utilisation", _plot("utilisation", "Utilisation", lead, headline)))
    if failed:
        groups, more = picks.failures(results)
        kinds = len(groups) + more
        lead = f'<p class="lead">{failed:,} failed, in {kinds:,} kind{"s" * (kinds != 1)} by error and last line.</p>'
        content = lead + markup.failure_list(groups, more=more)
        sections.append(("failures", "Failures", _section("failures", "Failures", content)))
    if data["table"]:
        shown_rows, total = data["table"]["shown"], data["table"]["total"]
        lead = f"{total:,} rows." if total == shown_rows else _part(shown_rows, total, best=bool(best))
        content = f'<p class="lead">{lead}</p><div class="table"></div>'
        sections.append(("rows", "Rows", _section("rows", "Rows", content)))
    return sections


def _part(shown: int, total: int, *, best: bool) -> str:
    chosen = "failures and the best ones first" if best else "failures first"
    return f"{shown:,} of {total:,} shown, {chosen}; all are in results.parquet."


def _efficiency(busy: Mapping[str, Any], summary: Mapping[str, Any]) -> str:
    slots, share = busy["slots"], summary.get("efficiency")
    worked, wall = summary.get("busy_s"), summary.get("wall_s")
    if share is None and slots:  # no command has summed it up: from the rows
        worked, wall = busy["busy_s"], busy["active_s"]
        share = worked / (slots * wall)
    if share is None:
        return ""
    slot_words = "1 slot" if slots == 1 else f"{slots:,} slots" if slots else "the slots"
    how = ""
    if worked is not None and wall is not None:
        how = f": {markup.duration(worked)} of work on {slot_words} in {markup.duration(wall)}"
    return (
        f'<p class="headline"><span class="value">{markup.percent(share)}</span>'
        f'<span class="sub">efficiency{how}</span></p>'
    )


def _section(name: str, title: str, content: str) -> str:
    return f'<section id="{name}"><h2>{title}</h2>{content}</section>'


def _plot(name: str, title: str, lead: str, headline: str = "") -> str:
    frame = (
        f'{headline}<p class="lead">{lead}</p><div class="controls"></div>'
        f'<figure><div class="plot {name}" role="img" aria-label="{title}"></div>'
        '<figcaption class="caption" aria-live="polite"></figcaption></figure>'
    )
    return _section(name, title, frame)


def _paired(sections: list[tuple[str, str, str]]) -> list[str]:
    """The markup in order, with curves and heatmap side by side where the window is wide enough."""
    markup = {name: content for name, _, content in sections}
    if "curves" in markup and "heatmap" in markup:
        markup["curves"] = f'<div class="pair two">{markup["curves"]}{markup.pop("heatmap")}</div>'
    return list(markup.values())


def _assemble(*, title: str, body: str, data: Mapping[str, Any]) -> list[str]:
    """The page in pieces, most of it the chart library. A script runs only if its hash is in the policy."""
    ours = "".join(_read("sweep.report", name) for name in SCRIPTS)
    scripts = [f'(() => {{\n"use strict";\n{ours}}})();\n']
    if any(data[name] for name in ("crosses", "distributions", "utilisation")):
        scripts.insert(0, _read("plotly", "package_data/plotly.min.js"))
    hashes = " ".join(f"'sha256-{_digest(script)}'" for script in scripts)
    policy = f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:"
    page = Template(_read("sweep.report", "page.html")).substitute(
        policy=policy,
        title=markup.text(title),
        style=_read("sweep.report", "page.css"),
        body=body,
        data=embed(data),
        scripts=SCRIPTS_HERE,
    )
    before, _, after = page.rpartition(SCRIPTS_HERE)
    return [before, *(f"<script>{script}</script>\n" for script in scripts), after]


def embed(data: Any) -> str:
    """JSON that cannot leave its script element, whatever texts are in it."""
    raw = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return raw.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _read(package: str, name: str) -> str:
    raw = importlib.resources.files(package).joinpath(name).read_text(encoding="utf-8")
    return raw.replace("\r\n", "\n")  # as a browser reads it, or the hash is another


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
