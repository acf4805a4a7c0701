"""Markdown for comments, issues and job summaries; text of others can be nothing but text in it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

SPECIAL = re.compile(r"([\\`*_{}\[\]<>#.|~@:&$])")
# GitHub looks for names and issues in what Markdown has become, in which neither a backslash nor an entity is left:
# https://github.com/github/markup/issues/1168. A word joiner (U+2060) stays, is not seen and ends both.
INSTEAD = {"<": "&lt;", ">": "&gt;", "@": "@\u2060", "#": "\\#\u2060"}
MOST = 200  # characters of a text of others


def text(untrusted: object, *, most: int = MOST) -> str:
    """Text as it is, on one line: no mention, no link, no HTML, no end of a table's cell."""
    line = " ".join(str(untrusted).split())
    short = line if len(line) <= most else f"{line[: most - 1]}…"
    return SPECIAL.sub(lambda found: INSTEAD.get(found[0], f"\\{found[0]}"), short)


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, right: Iterable[int] = ()) -> list[str]:
    """A table's lines; cells are Markdown already, columns in `right` are numbers."""
    numbers = set(right)
    rule = ["--:" if column in numbers else "---" for column in range(len(head))]
    return [f"| {' | '.join(cells)} |" for cells in (head, rule, *rows)]
