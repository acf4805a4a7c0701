"""Explicit points from a file: csv, json, jsonl or parquet, each row a dict of parameters."""

from __future__ import annotations

import csv
import datetime as dt
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from grid.plan import Value
from grid.report import close
from grid.scalars import CORE

MAX_ROWS = 1_000_000
FORMATS = (".csv", ".json", ".jsonl", ".parquet")
Row = dict[str, Value]


class PointsError(Exception):
    """A points file that cannot be used; says the file, the row and what to do."""

    def __init__(self, message: str, remedy: str) -> None:
        self.message = message
        self.remedy = remedy
        super().__init__(f"{message} {remedy}")


def read_points(path: Path) -> list[Row]:
    """All rows of a file; a row does not have the parameters whose CSV cell is empty or whose Parquet cell is null.

    Raises PointsError; rows count from 1.
    """
    kind = path.suffix.lower()
    if kind not in FORMATS:
        raise PointsError(f"{path.name} is no points file.", f"Use one of {', '.join(FORMATS)}.")
    readers = {".csv": _csv, ".json": _json, ".jsonl": _jsonl, ".parquet": _parquet}
    rows: list[Row] = []
    try:
        for row in readers[kind](path):
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


def _csv(path: Path) -> Iterator[Row]:
    """Cells typed as YAML 1.2 types unquoted words."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, strict=True)
        try:
            header = [cell.strip() for cell in next(reader, [])]
            if not header or not all(header) or len(set(header)) != len(header):
                seen = f"{path.name} has no header, or one with an empty or repeated name."
                raise PointsError(seen, "Write the parameters' names into the first row.")
            number = 0
            for cells in reader:
                if not cells:
                    continue
                number += 1
                if len(cells) != len(header):
                    seen = f"{path.name}, row {number}: {len(cells)} cells under {len(header)} names."
                    raise PointsError(seen, "Put a cell that has a comma in it into quotes.")
                yield {
                    name: _cell(cell, path, number) for name, cell in zip(header, cells, strict=True) if cell.strip()
                }
        except csv.Error as error:
            raise PointsError(f"{path.name}, line {reader.line_num}: {error}.", "Check its quotes.") from None


def _cell(text: str, path: Path, number: int) -> Value:
    try:
        return CORE.value(text.strip())
    except ValueError:
        raise PointsError(f"{path.name}, row {number}: a number has too many digits.", "Shorten it.") from None


def _json(path: Path) -> Iterator[Row]:
    rows = _parsed(path.read_text(encoding="utf-8-sig"), path.name)
    if not isinstance(rows, list):
        raise PointsError(f"{path.name} is no list of rows.", 'Write [{"alpha": 0.1}, {"alpha": 1}].')
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
        reason = str(error) if isinstance(error, ValueError) else "it is nested too deep"
        raise PointsError(f"{where} is not valid JSON: {reason}.", "Correct it there.") from None


def _unrepeated(pairs: list[tuple[str, Value]]) -> Row:
    row = dict(pairs)
    if len(row) != len(pairs):
        raise ValueError("a key is given twice")
    return row


def _row(row: Any, path: Path, number: int) -> Row:
    if not isinstance(row, dict):
        raise PointsError(f"{path.name}, row {number}: this is no map of parameters.", 'Write {"alpha": 0.1}.')
    return row


def _parquet(path: Path) -> Iterator[Row]:
    import polars as pl  # half a second, and few sweeps need it

    try:
        if not path.is_file():
            raise FileNotFoundError(2, "No such file or directory")
        frame = pl.read_parquet(path, n_rows=MAX_ROWS + 1)
    except pl.exceptions.PolarsError as error:
        reason = str(error).partition("\n")[0]
        raise PointsError(f"{path.name} is not valid Parquet: {reason}.", "Write it again.") from None
    for number, row in enumerate(frame.iter_rows(named=True), 1):
        yield {name: _plain(value, path, number) for name, value in row.items() if value is not None}


def _plain(value: Any, path: Path, number: int) -> Value:
    """A Parquet value as YAML could say it: dates as ISO text, lists and structs as they are."""
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
    seen = f"{path.name}, row {number}: {type(value).__name__} is no kind of parameter."
    raise PointsError(seen, "Use numbers, text, booleans, lists or structs.")
