"""From samples to a table: medians, ratios, and whether each is what this project wants of itself."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

from bench.here import ROOT, tell_load
from sweepfleet.run.folder import write_whole

Samples = Mapping[str, Sequence[float]]
Unit = Literal["points/s", "x", "", "s", "ms", "MB"]


@dataclass(frozen=True, slots=True)
class Row:
    """One measure; its value is the median over the rounds, a round's own when it is made of several samples."""

    group: str
    what: str
    samples: tuple[float, ...]
    unit: Unit = ""
    at_least: float | None = None
    at_most: float | None = None

    @property
    def median(self) -> float:
        """The median sample."""
        return statistics.median(self.samples)

    @property
    def target(self) -> str:
        """The limit as text, empty when there is none."""
        if self.at_least is not None:
            return f"≥ {shown(self.at_least, self.unit)}"
        return "" if self.at_most is None else f"≤ {shown(self.at_most, self.unit)}"

    @property
    def held(self) -> bool | None:
        """Whether the median keeps to the limit; None without a limit."""
        if self.at_least is not None:
            return self.median >= self.at_least
        return None if self.at_most is None else self.median <= self.at_most

    def to_dict(self) -> dict[str, Any]:
        """The row for results.json."""
        return {
            "group": self.group,
            "what": self.what,
            "median": self.median,
            "unit": self.unit,
            "at_least": self.at_least,
            "at_most": self.at_most,
            "held": self.held,
            "samples": list(self.samples),
        }


def shown(value: float, unit: Unit) -> str:
    """A value as the table shows it."""
    match unit:
        case "points/s":
            return f"{value:,.0f}"
        case "x":
            return f"{value:,.0f}x" if value >= 10 else f"{value:.2f}x"
        case "s":
            return f"{value:.2f} s"
        case "ms":
            return f"{value:.1f} ms"
        case "MB":
            return f"{value:,.0f} MB"
        case "":
            return f"{value:.3f}"


def ratio(above: Sequence[float], below: Sequence[float]) -> tuple[float, ...]:
    """Round by round, so that what slowed a whole round down cancels out."""
    return tuple(a / b for a, b in zip(above, below, strict=True))


def difference(more: Sequence[float], less: Sequence[float]) -> tuple[float, ...]:
    """Likewise."""
    return tuple(a - b for a, b in zip(more, less, strict=True))


def print_table(rows: Sequence[Row], *, judged: bool, title: str) -> None:
    """Print the rows; `judged` says whether the sizes are those that the limits are meant for."""
    table = Table(title=title, title_justify="left", title_style="bold", pad_edge=False)
    for heading, justify in (
        ("what", "left"),
        ("median", "right"),
        ("from", "right"),
        ("to", "right"),
        ("at least / at most", "right"),
        ("held", "left"),
    ):
        table.add_column(heading, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    group = None
    for row in rows:
        if row.group != group:
            if group is not None:
                table.add_section()
            group = row.group
            table.add_row(f"[bold]{group}[/]")
        held = {True: "[green]yes[/]", False: "[bold red]no[/]", None: ""}[row.held]
        table.add_row(
            f"  {row.what}",
            shown(row.median, row.unit),
            *(
                shown(limit, row.unit) if len(row.samples) > 1 else ""
                for limit in (min(row.samples), max(row.samples))
            ),
            row.target,
            held if judged else "[dim]not judged[/]" if held else "",
        )
    console = Console()
    if not console.is_terminal:
        console = Console(width=120)
    console.print(table)


def finish(
    rows: Sequence[Row],
    *,
    title: str,
    here: Mapping[str, Any],
    rounds: int,
    samples: Samples,
    file: Path | None,
) -> None:
    """Print the rows, and write them with every sample.

    Args:
        rows: measured.
        title: of the table.
        here: what `bench.here.machine` says.
        rounds: that were measured.
        samples: by measure.
        file: to write; None: the sizes were small, and nothing is judged or written.
    """
    print_table(rows, judged=file is not None, title=title)
    tell_load(here)
    if file is None:
        print("Too little to judge by; the file of results is left as it was.")
        return
    results = {"machine": here, "rounds": rounds, "rows": [row.to_dict() for row in rows], "samples": samples}
    write_whole(file, json.dumps(results, indent=1) + "\n")
    print(f"Every sample: {file.relative_to(ROOT)}")
