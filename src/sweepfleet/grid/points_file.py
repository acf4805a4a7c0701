"""Explicit points from a file: csv, json, jsonl or parquet, each row a dict of parameters."""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from sweepfleet.grid import csv_cells, parquet
from sweepfleet.grid.plan import Value
from sweepfleet.grid.scalars import CORE
from sweepfleet.grid.wording import close, nearest, show

MAX_ROWS = 1_000_000
FORMATS = (".csv", ".json", ".jsonl", ".parquet")
Row = dict[str, Value]
ColumnType = Literal["text", "number", "integer", "boolean"]
_LONGEST_NUMBER = 30  # characters
_ALLOWED: dict[ColumnType, str] = {"number": "a number", "integer": "a whole number", "boolean": "true or false"}


class PointsError(Exception):
    """A points file that cannot be used: the file, the row, and what to do."""

    def __init__(self, message: str, remedy: str) -> None:
        self.message = message
        self.remedy = remedy
        super().__init__(f"{message} {remedy}")


def read_points(
    path: Path, types: Mapping[str, ColumnType] | None = None, *, warn: Callable[[str], object] = lambda _: None
) -> list[Row]:
    """All rows of a file; a row does not have the parameters whose CSV cell is empty or whose Parquet cell is null.

    `types` are those of CSV columns; `warn` is told what works, but not as its writer may think. Raises PointsError;
    rows count from 1.
    """
    kind = path.suffix.lower()
    if kind not in FORMATS:
        raise PointsError(f"{path.name} is not a points file.", f"Use one of {', '.join(FORMATS)}.")
    if types and kind != ".csv":
        raise PointsError(
            f"{path.name}: `types` is for .csv files only.", f"Remove them: {kind} says itself what is text."
        )
    readers = {".json": _json, ".jsonl": _jsonl, ".parquet": _parquet}
    rows: list[Row] = []
    try:
        for row in _csv(path, types or {}, warn) if kind == ".csv" else readers[kind](path):
            rows.append(row)
            if len(rows) > MAX_ROWS:
                raise PointsError(f"{path.name} has more than {MAX_ROWS:,} rows.", "Split the sweep.")
    except OSError as error:
        raise PointsError(f"{path.name} cannot be read: {error.strerror or error}.", _other_file(path)) from None
    except UnicodeDecodeError as error:
        seen = f"{path.name} is not UTF-8 text: byte {error.start} cannot be read."
        raise PointsError(seen, "Save it as UTF-8.") from None
    return rows


def _other_file(path: Path) -> str:
    near = None
    if path.parent.is_dir():
        near = close(path.name, [other.name for other in path.parent.iterdir() if other.suffix in FORMATS])
    return f"Did you mean `{near}`?" if near else "Give its path relative to the grid file."


def _csv(path: Path, types: Mapping[str, ColumnType], warn: Callable[[str], object]) -> Iterator[Row]:
    """Cells typed as YAML 1.2 types unquoted words; those in quotes are text, but where the column has a type."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        records = csv_cells.rows(file)
        try:
            header = _header(path, next(records, (0, []))[1], types)
            columns = [(name, types.get(name)) for name in header]
            numbers = {name for name, kind in columns if kind is None}  # quoted, and every one a number
            found: set[str] = set()
            for number, (_, cells) in enumerate(records, 1):
                if len(cells) != len(header):
                    seen = f"{path.name}, row {number}: {len(cells)} cells, and the header has {len(header)}."
                    raise PointsError(seen, "Put a cell that has a comma in it into quotes.")
                row: Row = {}
                for (name, kind), (text, quoted) in zip(columns, cells, strict=True):
                    if not quoted and not text.strip():
                        continue
                    try:
                        row[name] = text if quoted and kind is None else _typed(text, kind)
                    except ValueError as error:
                        seen = f"{path.name}, row {number}, column {name}: {error}"
                        raise PointsError(seen, "Correct it there.") from None
                    if name in numbers:
                        found.add(name)
                        if not (quoted and _is_number(text)):
                            numbers.discard(name)
                yield row
        except csv_cells.CsvError as error:
            raise PointsError(f"{path.name}, line {error.line}: {error.message}.", "Check its quotes.") from None
    for name in header:
        if name in numbers & found:
            written = f"points: {{file: {path.name}, types: {{{name}: number}}}}"
            warn(f"{path.name}: {name} is text, since its cells are in quotes. For numbers write {written}.")


def _header(path: Path, cells: Sequence[csv_cells.Cell], types: Mapping[str, ColumnType]) -> list[str]:
    header = [text.strip() for text, _ in cells]
    if not header or not all(header) or len(set(header)) != len(header):
        seen = f"{path.name} has no header, or one with an empty or repeated name."
        raise PointsError(seen, "Write the parameters' names into the first row.")
    for name in types:
        if name not in header:
            seen = f"{path.name} has no column {show(name)}, which `types` names."
            raise PointsError(seen, nearest(name, header, what="columns"))
    return header


def _typed(text: str, kind: ColumnType | None) -> Value:
    """A cell's value. Raises ValueError with what it should be."""
    if kind == "text":
        return text
    try:
        value = CORE.value(text.strip())
    except ValueError:
        raise ValueError("a number has too many digits.") from None
    if kind is None:
        return value
    whole = type(value) is int
    if whole if kind == "integer" else whole or type(value) is float if kind == "number" else type(value) is bool:
        return value
    raise ValueError(f"{show(text)} is not {_ALLOWED[kind]}.")


def _is_number(text: str) -> bool:
    """Whether a text is what a number is written as: 0.1, and not 007 or 1.50."""
    if not text or len(text) > _LONGEST_NUMBER:
        return False
    value = CORE.value(text)
    return type(value) in {int, float} and str(value) == text


def _json(path: Path) -> Iterator[Row]:
    rows = _parsed(path.read_text(encoding="utf-8-sig"), path.name)
    if not isinstance(rows, list):
        raise PointsError(f"{path.name} is not a list of rows.", 'Write [{"alpha": 0.1}, {"alpha": 1}].')
    for number, row in enumerate(rows, 1):
        yield _row(row, path, number)


def _jsonl(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig") as file:
        number = 0
        for line in file:
            if line.strip():
                number += 1
                yield _row(_parsed(line, f"{path.name}, row {number}"), path, number)


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_unrepeated)
    except (ValueError, RecursionError) as error:
        reason = str(error) if isinstance(error, ValueError) else "it is nested too deeply"
        raise PointsError(f"{where} is not valid JSON: {reason}.", "Correct it there.") from None


def _unrepeated(pairs: list[tuple[str, Value]]) -> Row:
    row = dict(pairs)
    if len(row) != len(pairs):
        raise ValueError("a key is given twice")
    return row


def _row(row: Any, path: Path, number: int) -> Row:
    if not isinstance(row, dict):
        raise PointsError(f"{path.name}, row {number}: this is not a map of parameters.", 'Write {"alpha": 0.1}.')
    return row


def _parquet(path: Path) -> Iterator[Row]:
    try:
        found = parquet.rows(path, most=MAX_ROWS + 1)
    except parquet.ParquetError as error:
        raise PointsError(f"{path.name} is not valid Parquet: {error}.", "Write it again.") from None
    for number, row in enumerate(found, 1):
        yield {name: _plain(value, path, number) for name, value in row.items() if value is not None}


def _plain(value: Any, path: Path, number: int) -> Value:
    """A Parquet value as a YAML value: dates become ISO text, lists and structs stay."""
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, list):
        return [_plain(item, path, number) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item, path, number) for key, item in value.items()}
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    if hasattr(value, "as_tuple") and math.isfinite(float(value)):  # a decimal
        return float(value)
    seen = f"{path.name}, row {number}: {type(value).__name__} cannot be a parameter's value."
    raise PointsError(seen, "Use numbers, text, booleans, lists or structs.")
