"""The markup of the page that compares runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sweepfleet.grid.sweep import Metric
from sweepfleet.run.report.markup import DASH, STATES, duration, moment, number, text
from sweepfleet.run.report.pairs import Difference, Pairs
from sweepfleet.run.report.scan import PARAM, finite, query
from sweepfleet.run.report.sections import plot_section, section
from sweepfleet.run.report.tables import points_of, table

if TYPE_CHECKING:
    from sweepfleet.run.report.compare import Side

VALUES_SHOWN = 6


def body(sides: Sequence[Side], *, metric: Metric, pairs: Sequence[Pairs], left_out: int) -> str:
    """All sections of the page; the first of the runs is what the others are set against."""
    goal = "lower" if metric.goal == "minimize" else "higher"
    names = " · ".join(text(side.run.name) for side in sides)
    more = f" {left_out:,} more common metrics are not on this page." if left_out else ""
    lead = f'<p class="lead">{goal.capitalize()} {_strong(metric.name)} is better.</p>'
    parts = [
        section("runs", "Runs", lead + _runs(sides)),
        section("best", "Best of each", _best(sides, metric)),
        section("differences", "Paired differences", _differences(sides, pairs, metric)),
    ]
    if any(each.differences for each in pairs):
        parts.append(
            plot_section("pairs", "Pairs", "Points of both runs: the value in one against the value in the other.")
        )
    parts.append(plot_section("distribution", "Distribution", "The share of each run's rows, and its median."))
    if any(side.axes for side in sides):
        words = "The mean of all rows of each run at each value."
        parts.append(plot_section("curves", "Along a parameter", words))
    parts.append(plot_section("history", "Best so far", "Each run on its own clock, from its first point."))
    parts.append(section("parameters", "Parameters", _parameters(sides)))
    facts = f"{len(sides)} runs, by {text(metric.name)}{text(_over(metric))}.{more}"
    return "\n".join(
        (
            "<header>",
            '<p class="eyebrow">sweepfleet comparison</p>',
            f'<div class="title"><h1>{names}</h1></div>',
            f'<p class="facts"><span>{facts}</span></p>',
            "</header>",
            '<noscript><p class="note">Charts need JavaScript.</p></noscript>',
            "<nav>" + "".join(f'<a href="#{part.name}">{part.title}</a>' for part in parts) + "</nav>",
            *(part.content for part in parts),
        )
    )


def _strong(words: str) -> str:
    return f"<strong>{text(words)}</strong>"


def _over(metric: Metric) -> str:
    return f", its mean over {' and '.join(metric.over)}" if metric.over else ""


def _runs(sides: Sequence[Side]) -> str:
    columns = ["run", "state", "done", "failed", "configurations", "started", "work", "target", "commit"]
    rows = []
    for side in sides:
        summary, manifest = side.run.summary, side.run.manifest
        counts = dict(query(side.results.frame.group_by("status").len()).iter_rows())
        work = query(side.results.frame.select(finite("duration_s").sum())).item()
        rows.append(
            {
                "run": side.run.name,
                "state": STATES.get(str(summary.get("state")), DASH),
                "done": f"{counts.get('done', 0):,}",
                "failed": f"{counts.get('failed', 0):,}",
                "configurations": f"{len(side.compared.ranked):,}"
                if side.compared and side.compared.grouped
                else DASH,
                "started": moment(manifest.get("started")),
                "work": duration(work),
                "target": manifest.get("target"),
                "commit": str(manifest.get("git_commit") or "")[:10] or None,
            }
        )
    return table("Runs", columns, rows, numeric={"done", "failed", "configurations", "work"}, titles={}, places=False)


def _best(sides: Sequence[Side], metric: Metric) -> str:
    params: list[str] = []
    found = []
    for side in sides:
        best = _best_of(side)
        if best is not None:
            found.append((side, best))
            params += [name for name in best if name.startswith(PARAM) and name not in params]
    if not found:
        return f'<p class="lead">No run has a finite {_strong(metric.name)}.</p>'
    varying = [name for name in params if len({repr(best.get(name)) for _, best in found}) > 1]
    same = [name for name in params if name not in varying and found[0][1].get(name) is not None]
    rows = [{"run": side.run.name, **dict.fromkeys(varying), **best} for side, best in found]
    columns = ["run", "mean", "sd", "points", *varying, "point_id"]
    numeric = {"mean", "sd", "points"} | {
        name for name in varying if all(_is_number(row[name]) for row in rows if row[name] is not None)
    }
    alike = ""
    if same:
        listed = ", ".join(
            f"<code>{text(name.removeprefix(PARAM))} = {text(rows[0][name])}</code>" for name in same[:12]
        )
        alike = f'<p class="lead">The same in all of them: {listed}</p>'
    return table("Best of each", columns, rows, numeric=numeric, titles={"mean": metric.name}, places=False) + alike


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _best_of(side: Side) -> dict[str, Any] | None:
    if side.compared is None:
        return None
    row = side.compared.ranked.row(0, named=True)
    return {**row, "points": points_of(row)}


def _differences(sides: Sequence[Side], pairs: Sequence[Pairs], metric: Metric) -> str:
    first = sides[0].run.name
    blocks = []
    for side, found in zip(sides[1:], pairs, strict=True):
        title = f"<h3>{text(side.run.name)} against {text(first)}</h3>"
        if not found.differences:
            blocks.append(f'{title}<p class="lead">The two runs have no point with the same parameters.</p>')
            continue
        lead = (
            f"Points with the same {_listed(found.keys)}; each difference is {_strong(side.run.name)} less "
            f"{_strong(first)}, with the 95 % interval of its mean."
        )
        if found.averaged:
            lead += f" The mean is over {_listed(found.averaged)}, which only one of them has."
        rows = [_difference(each, metric) for each in found.differences]
        columns = ["metric", "pairs", "units", "first", "other", "difference", "interval", "lower", "higher", "p"]
        titles = {
            "pairs": "points",
            "units": "of configurations",
            "first": first,
            "other": side.run.name,
            "interval": "95 %",
            "p": "p (Wilcoxon)",
        }
        numeric = set(columns) - {"metric"}
        shown = table("Paired differences", columns, rows, numeric=numeric, titles=titles, places=False)
        blocks.append(f'{title}<p class="lead">{lead}</p>{shown}')
    return "".join(blocks)


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(f"<code>{text(name)}</code>" for name in names[:8])
    return f"{shown}{', …' if len(names) > 8 else ''}" if names else "replicate (they have no parameter in common)"


def _difference(each: Difference, metric: Metric) -> dict[str, Any]:
    better = "lower" if metric.goal == "minimize" else "higher"
    counts = {"lower": f"{each.lower:,}", "higher": f"{each.higher:,}"}
    if each.metric == metric.name:
        counts[better] += " better"
    return {
        "metric": each.metric,
        "pairs": f"{each.pairs:,}",
        "units": f"{each.units:,}" if each.units != each.pairs else None,
        "first": each.first_mean,
        "other": each.other_mean,
        "difference": f"{each.mean:+.4g}",
        "interval": None if each.low is None or each.high is None else f"{each.low:+.3g} to {each.high:+.3g}",
        **counts,
        "p": None if each.p_value is None else "< 0.0001" if each.p_value < 0.0001 else f"{each.p_value:.2g}",
    }


def _parameters(sides: Sequence[Side]) -> str:
    names: list[str] = []
    for side in sides:
        names += [name for name in side.results.params if name not in names]
    columns = ["parameter", *(str(place) for place in range(len(sides)))]
    titles = {str(place): side.run.name for place, side in enumerate(sides)}
    rows = [
        {"parameter": name, **{str(place): _values(side, name) for place, side in enumerate(sides)}} for name in names
    ]
    if not rows:
        return '<p class="lead">The runs have no parameters.</p>'
    return table("Parameters", columns, rows, numeric=(), titles=titles, places=False)


def _values(side: Side, name: str) -> str | None:
    if name not in side.results.params:
        return None
    if name in side.fixed:
        return number(side.fixed[name])
    axis = next((axis for axis in side.axes if axis.name == name), None)
    if axis is None:
        return "many texts"
    known = [level for level in axis.levels if level is not None]
    if axis.edges:
        return f"{number(axis.edges[0])} to {number(axis.edges[-1])}"
    if len(known) <= VALUES_SHOWN:
        return ", ".join(number(level) for level in known)
    return f"{len(known)} values, {number(known[0])} to {number(known[-1])}"
