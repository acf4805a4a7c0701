"""Values as text: the same in every line, table and page."""

from __future__ import annotations

import json
import math
import shutil
import sys
from collections.abc import Mapping
from typing import Any

from rich.cells import cell_len, set_cell_size

from sweepfleet.grid.errors import printable

CUT = "…"
YEAR_S = 365.25 * 86400
LEAST_USD = 0.0001  # smaller amounts are shown alike


def value_text(value: Any, *, digits: int | None = None) -> str:
    """A parameter or metric in JSON's words (`true`, `null`, `[1, 2]`), text as it is, in one line.

    Args:
        value: what it is.
        digits: how many a float is rounded to; None: all that it takes to be exact.
    """
    if isinstance(value, str):
        text = value
    elif isinstance(value, float) and digits is not None:
        text = f"{value:.{digits}g}"
    else:
        text = json.dumps(value, ensure_ascii=False, default=str)
    return printable(text.replace("\n", "\\n").replace("\t", "\\t"))


def params_text(params: Mapping[str, Any], *, digits: int | None = None) -> str:
    """A point's parameters in one line."""
    return " ".join(f"{printable(name)}={value_text(value, digits=digits)}" for name, value in params.items())


def cut(text: str, width: int | None) -> str:
    """Text that takes at most `width` cells of a terminal, with an ellipsis where it was longer; None: all of it."""
    if width is None or cell_len(text) <= width:
        return text
    return set_cell_size(text, max(0, width - 1)).rstrip() + CUT


def duration_each(seconds: float) -> str:
    """A point's duration as a person reads it."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"


def number(value: float) -> str:
    """A rate as a person reads it: three digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def dollars(usd: float) -> str:
    """An amount of US dollars as a person reads it: two digits of what is less than a dollar, else cents if any."""
    if 0 < abs(usd) < LEAST_USD:
        return f"<{LEAST_USD}"
    digits = 2 if abs(usd) >= 0.995 or not usd else max(2, 1 - math.floor(math.log10(abs(usd))))
    text = f"{usd:,.{digits}f}"
    return text.removesuffix(".00")


def about_dollars(usd: float) -> str:
    """An estimate of US dollars: `about 2.50`, `<0.0001`."""
    text = dollars(usd)
    return text if text.startswith("<") else f"about {text}"


def hours_text(worker_hours: float) -> str:
    """Workers' time as a person reads it."""
    return f"{number(worker_hours)} worker {'hour' if number(worker_hours) == '1' else 'hours'}"


def duration(seconds: float) -> str:
    """A time as a person reads it: its two largest units."""
    if round(seconds, 1) < 10:
        return f"{seconds:.1f} s"
    units = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
    whole = round(seconds)
    for place, (name, size) in enumerate(units):
        if whole >= size:
            count, rest = divmod(whole, size)
            if place + 1 < len(units) and (smaller := rest // units[place + 1][1]):
                return f"{count:,} {name} {smaller} {units[place + 1][0]}"
            return f"{count:,} {name}"
    return "0 s"


def years(seconds: float) -> str:
    """A long time, about."""
    return f"about {seconds / YEAR_S:,.1f} years"


def terminal_width() -> int | None:
    """How many cells a line of standard output has; None when that is no terminal."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None
