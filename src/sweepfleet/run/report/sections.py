"""The sections of a run's page: those in which there is something to show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from sweepfleet.grid.sweep import Metric
from sweepfleet.grid.wording import counted
from sweepfleet.run.report import markup, tables
from sweepfleet.run.report.axes import LEVELS_MAX, Axis, Profile
from sweepfleet.run.report.configurations import TOP, Configurations
from sweepfleet.run.report.failures import Failures
from sweepfleet.run.report.importance import Importance
from sweepfleet.run.report.printed import Texts
from sweepfleet.run.report.scan import METRIC, PARAM, Results, finite, query

OTHERS = 3  # further metrics in the table of the best


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page: its id, its name in the navigation, and its markup."""

    name: str
    title: str
    content: str


@dataclass(frozen=True, slots=True)
class Found:
    """All that was worked out about a run."""

    results: Results
    data: Mapping[str, Any]
    axes: Sequence[Axis]
    known: Profile
    compared: Configurations | None
    shares: Importance | None
    metric: Metric | None
    failed: int
    groups: Sequence[Failures]
    groups_left_out: int
    printed: Texts
    metrics_left_out: int


def sections_of(found: Found, *, summary: Mapping[str, Any], manifest: Mapping[str, Any]) -> list[Section]:
    """The page's sections, in order."""
    best = _best(found)
    details = markup.run_details(summary=summary, manifest=manifest, fixed=found.known.fixed)
    parts = [
        best,
        _history(found),
        *_parameters(found),
        *_means(found),
        _parallel(found),
        _distribution(found),
        _utilisation(found, summary),
        _failures(found),
        _rows(found, best=best is not None),
        section("details", "How it was run", details, short="Run"),
    ]
    return [part for part in parts if part is not None]


def paired(sections: Sequence[Section]) -> list[str]:
    """The markup in order, with two that belong together side by side where the window is wide enough."""
    content = {each.name: each.content for each in sections}
    for left, right in (("importance", "parameters"), ("curves", "heatmap")):
        if left in content and right in content:
            content[left] = f'<div class="pair two">{content[left]}{content.pop(right)}</div>'
    return list(content.values())


def _best(found: Found) -> Section | None:
    compared = found.compared
    if compared is None:
        return None
    varying = [name for name in compared.keys if name not in found.known.fixed]
    chosen = [axis.name for axis in found.axes if axis.name in varying][: tables.BEST_PARAMS_MAX]
    params = [name for name in varying if name in chosen] or varying[: tables.BEST_PARAMS_MAX]
    left_out = len(varying) - len(params)
    head = _with_others(found, compared, compared.ranked.filter(pl.col("n") > 0).head(TOP))
    table = tables.configuration_table(head, found=compared, params=params, left_out=left_out)
    return section("best", "Best configurations" if compared.grouped else "Best points", table)


def _with_others(found: Found, compared: Configurations, head: pl.DataFrame) -> pl.DataFrame:
    """The ranking's head with the other metrics, their means where configurations have several points."""
    others = [name for name in found.data["metrics"] if name != compared.metric.name][:OTHERS]
    keys = [PARAM + name for name in compared.keys] if compared.grouped else ["point_id"]
    if not others or not keys:
        return head
    rows = found.results.frame.join(head.select(keys).lazy(), on=keys, how="semi", nulls_equal=True)
    means = query(rows.group_by(keys).agg(finite(METRIC + name).mean().alias(METRIC + name) for name in others))
    return head.join(means, on=keys, how="left", nulls_equal=True, maintain_order="left")


def _history(found: Found) -> Section | None:
    if not found.data["history"] or found.metric is None:
        return None
    lead = f"The best <strong>{markup.text(found.metric.name)}</strong> over the time in which points ran."
    if found.compared and found.compared.grouped:
        lead += " A configuration counts when its last point has finished."
    return plot_section("history", "Best so far", lead)


def _parameters(found: Found) -> list[Section]:
    if not found.axes or not found.data["metrics"]:
        return []
    lead = f"Each row at its value of the parameter, and the mean at each value.{_not_drawn(found)}"
    parts = [plot_section("parameters", "Each parameter", lead)]
    if found.shares and found.compared:
        name = f"<strong>{markup.text(found.compared.metric.name)}</strong>"
        taken = f"the logarithm of {name}" if found.shares.log else name
        units = "configurations" if found.compared.grouped else "rows"
        lead = (
            f"The share of the variance of {taken} that each parameter explains alone, over {found.shares.count:,} "
            f"{units}, with a 90 % interval. Pale: may be chance. The rest is interaction and noise."
        )
        content = f'<p class="lead">{lead}</p>{tables.importance_bars(found.shares)}'
        parts.insert(0, section("importance", "Importance", content))
    return parts


def _not_drawn(found: Found) -> str:
    """A note of parameters and metrics that no chart shows."""
    shown = {axis.name for axis in found.axes} | set(found.known.fixed)
    names = [name for name in found.results.params if name not in shown]
    words = ""
    if names:
        listed = ", ".join(f"<code>{markup.text(name)}</code>" for name in names[:6]) + (
            ", …" if len(names) > 6 else ""
        )
        are = "is" if len(names) == 1 else "are"
        words = (
            f" {listed} {are} only in the table of rows: text with more than {LEVELS_MAX} values, or no value at all."
        )
    if found.metrics_left_out:
        words += f" {found.metrics_left_out:,} more metrics are only in the table of rows."
    return words


def _means(found: Found) -> list[Section]:
    if not found.axes or not found.data["metrics"]:
        return []
    parts = [plot_section("curves", "Curves", "The mean of all rows at each value, and a band over everything else.")]
    if len(found.axes) > 1:
        parts.append(plot_section("heatmap", "Heatmap", "The mean of all rows in each cell, over everything else."))
    return parts


def _parallel(found: Found) -> Section | None:
    drawn = found.data["sample"]
    if not drawn or drawn["shown"] < 2 or len(found.axes) + len(found.data["metrics"]) < 2:
        return None
    lead = "One line a row. Drag along an axis to keep only the lines that pass there; click it to let go."
    return plot_section("parallel", "Parallel coordinates", lead)


def _distribution(found: Found) -> Section | None:
    return plot_section("distribution", "Distribution", "Over all rows.") if found.data["distributions"] else None


def _utilisation(found: Found, summary: Mapping[str, Any]) -> Section | None:
    busy = found.data["utilisation"]
    if not busy:
        return None
    lead = "Busy slots and finished points, from every row's start and duration."
    return plot_section("utilisation", "Utilisation", lead, _efficiency(busy, summary))


def _failures(found: Found) -> Section | None:
    if not found.failed:
        return None
    causes = len(found.groups) + found.groups_left_out
    lead = f'<p class="lead">{found.failed:,} failed, for {causes:,} cause{"s" * (causes != 1)}.</p>'
    name = str(found.data["table"]["run"]) if found.data["table"] else ""
    content = tables.failure_list(found.groups, more=found.groups_left_out, printed=found.printed.texts, run=name)
    if found.printed.problem:
        content += f'<p class="lead">{markup.text(found.printed.problem)}</p>'
    return section("failures", "Failures", lead + content)


def _rows(found: Found, *, best: bool) -> Section | None:
    table = found.data["table"]
    if not table:
        return None
    shown, total = table["shown"], table["total"]
    lead = f"{counted(total, 'row')}." if total == shown else _part(shown, total, best=best)
    return section("rows", "Rows", f'<p class="lead">{lead}</p><div class="table"></div>')


def _part(shown: int, total: int, *, best: bool) -> str:
    chosen = "failures and the best rows first" if best else "failures first"
    return f"{shown:,} of {total:,} shown, {chosen}; all are in results.parquet."


def _efficiency(busy: Mapping[str, Any], summary: Mapping[str, Any]) -> str:
    slots, share = busy["slots"], summary.get("efficiency")
    worked, wall = summary.get("busy_s"), summary.get("wall_s")
    if share is None and slots:  # no command has summed it up: from the rows
        worked, wall = busy["busy_s"], busy["active_s"]
        share = worked / (slots * wall)
    if share is None:
        return ""
    slot_words = counted(slots, "slot") if slots else "the slots"
    how = ""
    if worked is not None and wall is not None:
        how = f": {markup.duration(worked)} of work on {slot_words} in {markup.duration(wall)}"
    return (
        f'<p class="headline"><span class="value">{markup.percent(share)}</span>'
        f'<span class="sub">efficiency{how}</span></p>'
    )


def section(name: str, title: str, content: str, *, short: str = "") -> Section:
    """A part of the page; `short` is its name in the navigation."""
    return Section(name, short or title, f'<section id="{name}"><h2>{title}</h2>{content}</section>')


def plot_section(name: str, title: str, lead: str, headline: str = "") -> Section:
    """A part with one chart, which the page's scripts draw."""
    frame = (
        f'{headline}<p class="lead">{lead}</p><div class="controls"></div>'
        f'<figure><div class="plot {name}" role="img" aria-label="{title}"></div>'
        '<figcaption class="caption" aria-live="polite"></figcaption></figure>'
    )
    return section(name, title, frame)
