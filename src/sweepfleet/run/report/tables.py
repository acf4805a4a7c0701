"""The page's static tables: the best, the parameters' importance, and the failures."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import polars as pl

from sweepfleet.grid.wording import counted
from sweepfleet.run.report.configurations import Configurations
from sweepfleet.run.report.failures import Failures
from sweepfleet.run.report.importance import Importance
from sweepfleet.run.report.markup import number, text
from sweepfleet.run.report.scan import METRIC, PARAM

BEST_PARAMS_MAX = 24  # columns of parameters in the table of the best
SHARE_SURE = 0.005  # a share whose interval reaches below may be chance


def configuration_table(frame: pl.DataFrame, *, found: Configurations, params: Sequence[str], left_out: int) -> str:
    """The best configurations, best first: mean, sd and how many points where they have several.

    `frame` is the head of the ranking, with other metrics as `metric.*`.
    """
    others = [name for name in frame.columns if name.startswith(METRIC)]
    means = ["mean", "sd", "points"] if found.grouped else ["mean"]
    columns = [*means, *(PARAM + name for name in params), *others, "point_id"]
    rows = [row | {"points": points_of(row)} for row in frame.iter_rows(named=True)]
    numeric = {"points"} | {name for name in frame.columns if frame[name].dtype.is_numeric()}
    words = f'<p class="lead">{_lead(frame, found)}{_more(left_out)}</p>'
    label = "Best configurations" if found.grouped else "Best points"
    return words + table(label, columns, rows, numeric=numeric, titles={"mean": found.metric.name})


def points_of(row: Mapping[str, Any]) -> str:
    """How many of a configuration's points have a finite metric: `5`, or `3 of 5`."""
    return f"{row['n']:,}" if row["n"] == row["of"] else f"{row['n']:,} of {row['of']:,}"


def _lead(frame: pl.DataFrame, found: Configurations) -> str:
    goal = "lowest" if found.metric.goal == "minimize" else "highest"
    name = f"<strong>{text(found.metric.name)}</strong>"
    if not found.grouped:
        return f"The {counted(len(frame), 'row')} with the {goal} {name}."
    averaged = [
        *(["replicates"] if found.replicates else []),
        *(f"<strong>{text(each)}</strong>" for each in found.over),
    ]
    lead = (
        f"The {len(frame):,} of {counted(len(found.ranked), 'configuration')} with the {goal} mean {name} over "
        f"{' and '.join(averaged)}; sd is over the points of one configuration."
    )
    incomplete = len(found.incomplete)
    if incomplete:
        plural = incomplete != 1
        lead += (
            f" {incomplete:,} configuration{'s' * plural} {'lack' if plural else 'lacks'} points and "
            f"rank{'s' * (not plural)} last."
        )
    return lead


def _more(left_out: int) -> str:
    return (
        f" {counted(left_out, 'more parameter')} {'is' if left_out == 1 else 'are'} in the table of rows."
        if left_out
        else ""
    )


def table(
    label: str,
    columns: Sequence[str],
    rows: Sequence[Mapping[str, Any]],
    *,
    numeric: Collection[str],
    titles: Mapping[str, str],
    places: bool = True,
) -> str:
    """A scrolling table; `numeric` columns are right-aligned, `places` numbers the rows."""
    head = "".join(
        f'<th scope="col"{" class=num" * (name in numeric)}>'
        f"{text(titles.get(name, name.removeprefix(PARAM).removeprefix(METRIC)))}</th>"
        for name in columns
    )
    body = "".join(
        "<tr>"
        + f'<td class="num place">{place}</td>' * places
        + "".join(_cell(name, row[name], numeric=name in numeric, key=name == columns[0]) for name in columns)
        + "</tr>"
        for place, row in enumerate(rows, start=1)
    )
    first = '<th scope="col" class="num place">#</th>' * places
    return (
        f'<div class="edged"><div class="scroll" tabindex="0" role="region" aria-label="{label}"><table><thead><tr>'
        f"{first}{head}</tr></thead><tbody>{body}</tbody></table></div></div>"
    )


def _cell(name: str, value: Any, *, numeric: bool, key: bool) -> str:
    kinds = ["num" if numeric else "text"]
    kinds += ["none"] * (value is None) + ["id"] * (name == "point_id") + ["key"] * key
    full = "" if value is None else number(value) if isinstance(value, bool) else str(value)
    shown = f"{value:.3g}" if name == "sd" and value is not None else value
    return f'<td class="{" ".join(kinds)}" title="{text(full)}">{text(shown)}</td>'


def importance_bars(found: Importance) -> str:
    """Each parameter's share as a bar with its interval; a click chooses the parameter in the chart beside it."""
    bars = []
    for each in found.shares:
        name = text(each.axis.name)
        share, low, high = (f"{100 * value:.0f}" for value in (each.share, each.low, each.high))
        kind = ' class="weak"' if each.low < SHARE_SURE else ""
        bounds = f"left:{100 * each.low:.2f}%;width:{100 * (each.high - each.low):.2f}%"
        bars.append(
            f'<button type="button"{kind} data-name="{name}" aria-pressed="false">'
            f'<span class="name" title="{name}">{name}</span>'
            f'<span class="bar"><span class="fill" style="width:{100 * each.share:.2f}%"></span>'
            f'<span class="range" style="{bounds}"></span></span>'
            f'<span class="share">{share} % <small>{low} to {high}</small></span></button>'
        )
    return f'<div class="importance">{"".join(bars)}</div>'


def failure_list(groups: Sequence[Failures], *, more: int, printed: Mapping[str, str], run: str) -> str:
    """Each cause behind its one line: how often, what, where, one of them in full, and what it printed."""
    blocks = []
    for group in groups:
        ids = ", ".join(f'<span class="id">{text(name)}</span>' for name in group.point_ids)
        kind, message = _parts(group)
        others = ", …" if group.count > len(group.point_ids) else ""
        first = group.point_ids[0] if group.point_ids else ""
        blocks.append(
            f'<details><summary><span class="count">{group.count:,}</span><span class="kind">'
            f'{text(kind)}</span><span class="message">{text(message)}</span></summary>'
            f'<div class="evidence"><p>Points {ids}{others}</p>'
            f'<pre tabindex="0">{text(group.text)}</pre>{_printed(first, printed, run)}</div></details>'
        )
    rest = f'<p class="lead">{more:,} rarer causes are in results.parquet.</p>' if more else ""
    return f'<div class="failures">{"".join(blocks)}</div>{rest}'


def _printed(point_id: str, printed: Mapping[str, str], run: str) -> str:
    if point_id not in printed:
        return ""
    command = f"inv output --name {run} --point {point_id}"
    shown = f'<pre tabindex="0">{text(printed[point_id])}</pre>' if printed[point_id] else ""
    return f"<p>Point <span class=id>{text(point_id)}</span> printed (<code>{text(command)}</code>):</p>{shown}"


def _parts(group: Failures) -> tuple[str, str]:
    """The type and what it says; a command's failure is all message."""
    kind, line = group.error_type, group.line
    if line.startswith(f"{kind}: "):
        return kind, line.removeprefix(f"{kind}: ")
    return (kind, "") if line == kind else ("", line)
