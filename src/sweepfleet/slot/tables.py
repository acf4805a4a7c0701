"""Several rows a point: the list of dicts or the frame that a target returned, as columns for `results_long`."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

from sweepfleet.slot.values import MAX_METRICS, BadResultError, as_json, fields_of, is_frame, metrics, name_of, scalar

MAX_ROWS = 100_000
MAX_ROWS_BYTES = 1 << 22  # of a point's rows as JSON, before they are compressed
OURS = ("point_id", "row")  # columns that `results_long` has already
COUNT = "rows"  # the metric of a point that returned nothing but rows
_SIZE = struct.Struct("<I")


def split(value: Any) -> tuple[Any, dict[str, list[Any]] | None]:
    """A result's metrics, and its rows as columns of plain values where it has any.

    Rows are a list of maps or a frame; they come alone, or behind the metrics in a tuple of two.

    Raises:
        BadResultError: the rows cannot be a table.
    """
    if _are_rows(value):
        columns, count = _columns(value)
        return {COUNT: count}, columns
    if type(value) is tuple and len(value) == 2 and _are_rows(value[1]):
        columns, count = _columns(value[1])
        return {COUNT: count} if value[0] is None else value[0], columns
    return value, None


def _are_rows(value: Any) -> bool:
    return is_frame(value) or (isinstance(value, list) and all(fields_of(each) is not None for each in value))


def _columns(rows: Any) -> tuple[dict[str, list[Any]], int]:
    if not isinstance(rows, list):
        found = _of_frame(rows)
        count = len(next(iter(found.values()), ()))
        _check(found, count)
        return found, count
    if len(rows) > MAX_ROWS:
        _check((), len(rows))
    plain = [metrics(fields_of(row) or {}) for row in rows]
    names = dict.fromkeys(name for row in plain for name in row)
    _check(names, len(rows))
    return {name: [row.get(name) for row in plain] for name in names}, len(rows)


def _of_frame(frame: Any) -> dict[str, list[Any]]:
    """The columns of a polars or pandas frame, or an Arrow table; a pandas index is not a column."""
    if len(frame) > MAX_ROWS:
        _check((), len(frame))
    if hasattr(frame, "to_pydict"):
        raw: Mapping[Any, Any] = frame.to_pydict()
    elif hasattr(frame, "to_dicts"):
        raw = frame.to_dict(as_series=False)
    else:
        raw = frame.to_dict("list")
    found: dict[str, list[Any]] = {}
    for key, values in raw.items():
        name = name_of(key)
        if name in found:
            raise BadResultError(f"returned rows with two columns named {name!r}.")
        found[name] = []
        for value in values:
            plain = scalar(name, value) if fields_of(value) is None else scalar(name, [value])[0]
            found[name].append(as_json(name, plain) if isinstance(plain, list | dict) else plain)
    return found


def _check(names: Iterable[str], count: int) -> None:
    """Refuse too many rows or columns, and columns with names of our own."""
    if count > MAX_ROWS:
        raise BadResultError(f"returned {count:,} rows; the limit is {MAX_ROWS:,}. Write them into artifact_dir.")
    names = list(names)
    if len(names) > MAX_METRICS:
        raise BadResultError(f"returned rows of {len(names):,} columns; the limit is {MAX_METRICS:,}.")
    taken = [name for name in OURS if name in names]
    if taken:
        raise BadResultError(
            f"returned rows with a column {taken[0]!r}, which results_long already has. Give it another name."
        )


def packed(found: bytes, columns: Mapping[str, list[Any]]) -> bytes:
    """A payload of `ROWS_SCHEMA`: the metrics as JSON behind their length, then the rows, compressed.

    Raises:
        BadResultError: the rows are too large.
    """
    try:
        data = json.dumps(columns, separators=(",", ":")).encode()
    except ValueError as error:
        raise BadResultError(f"returned rows that cannot be written as JSON: {error}.") from None
    if len(data) > MAX_ROWS_BYTES:
        count = len(next(iter(columns.values()), ()))
        raise BadResultError(
            f"returned {count:,} rows, {len(data):,} bytes as JSON; the limit for a point is {MAX_ROWS_BYTES:,}. "
            "Write them into artifact_dir."
        )
    return _SIZE.pack(len(found)) + found + zlib.compress(data, 1)


def unpacked(payload: bytes) -> tuple[bytes, bytes]:
    """The metrics and the compressed rows of a payload that `packed` made."""
    end = _SIZE.size + _SIZE.unpack_from(payload)[0]
    return payload[_SIZE.size : end], payload[end:]


def columns_of(rows: bytes) -> dict[str, list[Any]]:
    """The columns of compressed rows."""
    found: dict[str, list[Any]] = json.loads(zlib.decompress(rows))
    return found
