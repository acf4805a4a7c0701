"""The page's static parts: everything that can be read, printed and searched without a script."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from sweepfleet.grid.wording import counted

FIXED_SHOWN = 12
DASH = "\N{EN DASH}"
STATES = {
    "done": "complete",
    "failed": "finished, some points failed",
    "interrupted": "interrupted",
    "stopped": "stopped early",
}


def number(value: Any) -> str:
    """A value for reading: six significant digits, true and false in words, a dash for nothing."""
    if value is None:
        return DASH
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def percent(share: float | None) -> str:
    """A share of 1 with one decimal, never rounded to none or to a perfect score."""
    if share is None:
        return DASH
    if 0 < share < 0.001:
        return "< 0.1 %"
    return f"{min(share, 0.999):.1%}".replace("%", " %") if share < 1 else "100 %"


def duration(seconds: float | None) -> str:
    """Seconds in the units a person would say."""
    if seconds is None:
        return DASH
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 172_800:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


def moment(value: Any) -> str:
    """A Unix time as UTC to the second; a text stays as it is."""
    if isinstance(value, int | float):
        return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return DASH if value is None else str(value)


def text(value: Any) -> str:
    """Anything, safe between tags and inside quoted attributes."""
    return html.escape(value if isinstance(value, str) else number(value), quote=True)


def header(*, summary: Mapping[str, Any], manifest: Mapping[str, Any], done: int, failed: int) -> str:
    """Name, state, provenance in a line, progress and the numbers that matter most."""
    name = summary.get("name") or manifest.get("name") or "sweep"
    state = str(summary.get("state") or "done")
    points = max(int(summary.get("points") or 0), done + failed)
    facts = [f"<code>{text(manifest['target'])}</code>"] if manifest.get("target") else []
    if manifest.get("started") is not None:
        facts.append(f"started {text(moment(manifest['started']))}")
    if manifest.get("host"):
        facts.append(f"on {text(manifest['host'])}")
    if manifest.get("git_commit"):
        dirty = " with uncommitted changes" if manifest.get("git_dirty") else ""
        facts.append(f"commit <code>{text(str(manifest['git_commit'])[:10])}</code>{dirty}")
    badge = state if state in ("done", "failed") else "interrupted"
    shares = [(kind, 100 * count / points) for kind, count in (("done", done), ("failed", failed)) if count]
    label = f"{done:,} of {counted(points, 'point')} done, {failed:,} failed"
    bars = "".join(f'<span class="{kind}" style="width:{share:.3f}%"></span>' for kind, share in shares)
    return "\n".join(
        (
            "<header>",
            '<p class="eyebrow">sweepfleet report</p>',
            f'<div class="title"><h1>{text(name)}</h1>',
            f'<span class="badge {badge}">{text(STATES.get(state, state))}</span></div>',
            f'<p class="facts">{"".join(f"<span>{fact}</span>" for fact in facts)}</p>',
            f'<div class="progress" role="img" aria-label="{label}">{bars}</div>',
            f'<dl class="tiles">{_tiles(summary, done=done, failed=failed, points=points)}</dl>',
            "</header>",
        )
    )


def _tiles(summary: Mapping[str, Any], *, done: int, failed: int, points: int) -> str:
    resumed = summary.get("resumed")
    left = points - done - failed
    about = "" if summary.get("points_exact", True) else "about "
    aside = [f"of {about}{points:,}"] + ([f"{about}{left:,} left"] if left else [])
    if resumed:
        aside.append(f"{resumed:,} from before")
    tiles = [_tile("Points done", f"{done:,}", " · ".join(aside))]
    share = f"{percent(failed / points)} of all" if failed else "none"
    count = f'<a href="#failures">{failed:,}</a>' if failed else "0"
    tiles.append(_tile("Failed", count, share, kind="bad" if failed else "", markup=True))
    best = summary.get("best")
    if best:
        tiles.append(_tile(f"Best {best.get('metric')}", number(best.get("mean")), _basis(best)))
    if summary.get("efficiency") is not None:
        slots = summary.get("slots")
        aside = [counted(slots, "slot")] if slots else []
        tiles.append(_tile("Efficiency", percent(summary["efficiency"]), *aside))
    if summary.get("wall_s"):
        rate = summary.get("points_per_s")
        aside = [f"{float(f'{rate:.3g}'):,g} points/s"] if rate else []
        tiles.append(_tile("Wall time", duration(summary["wall_s"]), *aside))
    return "".join(tiles)


def _basis(best: Mapping[str, Any]) -> str:
    """What a best value is: a mean of how many points, with their spread, and which way is better."""
    n, of, sd = best.get("n") or 1, best.get("of") or 1, best.get("sd")
    goal = "lower is better" if best.get("goal") == "minimize" else "higher is better"
    if n == of == 1:
        return goal
    points = f"{n:,}" if n == of else f"{n:,} of {of:,} points"
    return f"mean of {points}{'' if sd is None else f', sd {sd:.3g}'} · {goal}"


def _tile(label: str, value: str, sub: str = "", *, kind: str = "", markup: bool = False) -> str:
    shown = value if markup else text(value)
    aside = f'<dd class="sub">{text(sub)}</dd>' if sub else ""
    return f'<div class="{kind}"><dt>{text(label)}</dt><dd class="value">{shown}</dd>{aside}</div>'


def notes(lines: Iterable[str]) -> str:
    """What the reader must not overlook, one box a note."""
    boxes = "".join(f'<p class="note" role="note">{text(str(line))}</p>' for line in lines)
    return f'<div class="notes">{boxes}</div>' if boxes else ""


def run_details(*, summary: Mapping[str, Any], manifest: Mapping[str, Any], fixed: Mapping[str, Any]) -> str:
    """How to make these numbers again, and what they cost."""
    commit = manifest.get("git_commit")
    dirty = " (with uncommitted changes)" if commit and manifest.get("git_dirty") else ""
    peak = summary.get("peak_rss_mb")
    pairs: list[tuple[str, Any]] = [
        ("Command", manifest.get("command_line")),
        ("Target", manifest.get("target")),
        ("Seed", manifest.get("seed")),
        ("Commit", f"{commit}{dirty}" if commit else None),
        ("Lock file", manifest.get("lock_hash")),
        ("Python", manifest.get("python")),
        ("sweepfleet", manifest.get("sweepfleet")),
        ("Host", manifest.get("host")),
        ("Platform", manifest.get("platform")),
        ("Computed by this command", _count(summary.get("computed"))),
        ("Found done", _count(summary.get("resumed"))),
        ("Time in points", duration(summary.get("busy_s"))),
        ("First result after", duration(summary.get("first_result_s"))),
        ("Driver's peak memory", f"{peak:,.0f} MB" if peak is not None else None),
    ]
    rows = "".join(
        f"<dt>{text(key)}</dt><dd>{_detail(key, value)}</dd>" for key, value in pairs if value not in (None, DASH)
    )
    return f'<dl class="details">{rows}</dl>{_fixed(fixed)}'


def _count(value: int | None) -> str | None:
    return None if value is None else f"{value:,}"


def _detail(key: str, value: Any) -> str:
    words = " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return f"<code>{text(words)}</code>" if key in ("Command", "Target", "Commit", "Lock file") else text(words)


def _fixed(fixed: Mapping[str, Any]) -> str:
    if not fixed:
        return ""
    words = [f"<code>{text(name)} = {text(value)}</code>" for name, value in fixed.items()]
    rest = words[FIXED_SHOWN:]
    more = f'<details class="more"><summary>{len(rest)} more</summary>{", ".join(rest)}</details>' if rest else ""
    return f'<p class="lead" id="fixed">The same in every row: {", ".join(words[:FIXED_SHOWN])}</p>{more}'
