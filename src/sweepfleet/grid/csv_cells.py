"""The cells of a CSV file, and whether each was quoted, which Python's csv module says from 3.12 on only.

The dialect is RFC 4180's: commas, double quotes, a quote within quotes doubled, line ends within quotes kept. A quote
within an unquoted cell is text, as for Python's csv module; spaces around a quoted cell are none of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

MAX_CELL = 131_072  # characters, as in Python's csv module
_QUOTED = re.compile(r'[ \t]*"((?:[^"]|"")*+)"[ \t]*(?=[,\r\n]|\Z)')
_OPENED = re.compile(r'[ \t]*"')
_PLAIN = re.compile(r"[^,\r\n]*")
_CLOSED_EARLY = re.compile(r'[ \t]*"(?:[^"]|"")*+"')


Cell = tuple[str, bool]  # its text, and whether it was quoted


class CsvError(Exception):
    """A file that is not CSV; has the line and what is wrong there."""

    def __init__(self, line: int, message: str) -> None:
        self.line = line
        self.message = message
        super().__init__(f"line {line}: {message}")


def rows(lines: Iterable[str]) -> Iterator[tuple[int, list[Cell]]]:
    """The rows that are not empty, each with the number of its first line. Raises CsvError.

    `lines` end as they do in the file, as open(newline="") gives them.
    """
    numbered = enumerate(lines, 1)
    for number, line in numbered:
        if '"' not in line:
            text = line.rstrip("\r\n")
            if text:
                cells = [(cell, False) for cell in text.split(",")]
                if len(text) > MAX_CELL:
                    _check(cells, number)
                yield number, cells
            continue
        record, position, cells = line, 0, []
        while True:
            if _OPENED.match(record, position):
                found = _QUOTED.match(record, position)
                if found is None:
                    record += _more(record, position, number, numbered)
                    continue
                cells.append((found[1].replace('""', '"'), True))
            else:
                found = _PLAIN.match(record, position)
                assert found is not None  # noqa: S101  (it matches an empty text, too)
                cells.append((found[0], False))
            position = found.end()
            if record[position : position + 1] != ",":
                break
            position += 1
        if len(record) > MAX_CELL:
            _check(cells, number)
        yield number, cells


def _more(record: str, position: int, number: int, numbered: Iterator[tuple[int, str]]) -> str:
    """The next lines of a cell whose quote is open, up to one with a quote in it."""
    if _CLOSED_EARLY.match(record, position):
        raise CsvError(number, "there is text after a closing quote")
    added: list[str] = []
    size = len(record) - position
    for _, line in numbered:
        added.append(line)
        size += len(line)
        if '"' in line:
            return "".join(added)
        if size > 2 * MAX_CELL:
            break
    raise CsvError(number, "a quote is opened and not closed")


def _check(cells: Sequence[Cell], number: int) -> None:
    if any(len(text) > MAX_CELL for text, _ in cells):
        raise CsvError(number, f"a cell is larger than {MAX_CELL:,} characters")
