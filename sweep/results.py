"""The results of a run as tables: one row a point, in the grid's order, made from the ledger alone."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
import psutil

from grid.space import Kind, Space
from sweep.folder import RunFolder
from sweep.ledger import Ledger
from worker.records import Schema, Status

CHUNK = 1 << 16
ASIDE = ".results."  # and a pid: where that process makes its tables
STATUS_NAMES: dict[int, str | None] = {int(Status.DONE): "done", int(Status.FAILED): "failed"}
TYPES: dict[str, pl.DataType] = {
    "int": pl.Int64(),
    "float": pl.Float64(),
    "bool": pl.Boolean(),
    "str": pl.String(),
    "json": pl.String(),
}
SCHEMA_KINDS: dict[str, Kind] = {"d": "float", "q": "int", "?": "bool"}


def write_results(folder: RunFolder, ledger: Ledger, space: Space) -> None:
    """Write results.parquet and results.csv, each whole, in memory that does not grow with the rows."""
    _clear(folder)
    aside = folder.path / f"{ASIDE}{os.getpid()}"
    aside.mkdir()
    try:
        parts = []
        for number, frame in enumerate(frames(ledger, space)):
            part = aside / f"{number:06}.parquet"
            frame.write_parquet(part, compression="lz4", statistics=False)
            parts.append(part)
        table = pl.scan_parquet(parts) if parts else empty(ledger, space).lazy()
        for write, path in ((table.sink_parquet, folder.parquet), (table.sink_csv, folder.csv)):
            whole = aside / path.name
            write(whole)
            whole.replace(path)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _clear(folder: RunFolder) -> None:
    """Remove what killed processes left: half-written tables that nobody will finish."""
    for path in folder.path.glob(f"{ASIDE}*"):
        pid = path.name.removeprefix(ASIDE)
        if pid.isdecimal() and (int(pid) == os.getpid() or not psutil.pid_exists(int(pid))):
            shutil.rmtree(path, ignore_errors=True)


def empty(ledger: Ledger, space: Space) -> pl.DataFrame:
    """The table without rows."""
    return _Table(ledger, space).frame([])


def frames(ledger: Ledger, space: Space) -> Iterator[pl.DataFrame]:
    """The rows in the grid's order, `CHUNK` at a time, all with the same columns and types."""
    table = _Table(ledger, space)
    for rows in ledger.scan(chunk=CHUNK):
        yield table.frame(rows)


def param_series(space: Space, columns: Mapping[str, list[Any]]) -> Iterator[pl.Series]:
    """The `param.*` columns of a table, from every parameter's values."""
    for name in space.names:
        kind = space.kinds[name]
        values = columns[name]
        if kind == "json":
            values = [None if value is None else json.dumps(value) for value in values]
        elif kind == "float":
            values = [None if value is None else float(value) for value in values]
        yield pl.Series(f"param.{name}", values, TYPES[kind], strict=False)


class _Table:
    """Columns and types of one run, and how ledger rows become them."""

    def __init__(self, ledger: Ledger, space: Space) -> None:
        self._space = space
        self._schemas = ledger.schemas_in_use()
        self._sources = ledger.sources()
        self._metrics = _metric_kinds(self._schemas.values(), ledger)

    def frame(self, rows: Sequence[tuple[Any, ...]]) -> pl.DataFrame:
        columns: list[Any] = list(zip(*rows, strict=True)) if rows else [()] * 13
        (indexes, ids, seeds, statuses, attempts, losses, started, durations) = columns[:8]
        sources, schemas, metrics, error_types, errors = columns[8:]
        source = pl.Series(sources, dtype=pl.Int64)
        series = [
            pl.Series("point_id", ids, pl.String),
            pl.Series("replicate", np.array(indexes, np.int64) % self._space.plan.replicates, pl.Int64),
            pl.Series("seed", seeds, pl.Int64),
            *param_series(self._space, self._param_columns(indexes)),
            *self._measured(schemas, metrics),
            _named("status", pl.Series(statuses, dtype=pl.Int64), STATUS_NAMES),
            pl.Series("attempts", attempts, pl.Int64),
            pl.Series("infra_losses", losses, pl.Int64),
            pl.Series("error_type", error_types, pl.String),
            pl.Series("error", errors, pl.String),
            pl.Series("started", started, pl.Float64),
            pl.Series("duration_s", durations, pl.Float64),
            _named("worker", source, {number: each.worker for number, each in self._sources.items()}),
            _named("git_commit", source, {number: each.git_commit for number, each in self._sources.items()}),
            _named("env_hash", source, {number: each.env_hash for number, each in self._sources.items()}),
        ]
        return pl.DataFrame(series)

    def _param_columns(self, indexes: list[int]) -> dict[str, list[Any]]:
        if indexes and indexes[-1] - indexes[0] < 4 * len(indexes):
            there, columns = self._space.params_columns(indexes[0], indexes[-1] + 1)
            if len(there) == len(indexes):
                return columns
            ended = set(indexes)
            keep = [place for place, index in enumerate(there) if index in ended]
            return {name: [values[place] for place in keep] for name, values in columns.items()}
        params = [self._space.point(index).params for index in indexes]
        return {name: [each.get(name) for each in params] for name in self._space.names}

    def _measured(self, schemas: list[int | None], payloads: list[bytes | None]) -> Iterator[pl.Series]:
        count = len(schemas)
        if count and schemas[0] is not None and schemas.count(schemas[0]) == count:
            columns = _unpacked(self._schemas[schemas[0]], b"".join(payloads))  # type: ignore[arg-type]
        else:
            columns = self._mixed(schemas, payloads)
        for name, kind in self._metrics.items():
            values: Any = columns.get(name)
            if values is None:
                values = [None] * count
            elif kind in ("str", "json") and not isinstance(values, np.ndarray):
                values = [v if v is None or isinstance(v, str) else json.dumps(v) for v in values]
            elif kind in ("str", "json"):
                values = [json.dumps(value) for value in values.tolist()]
            yield pl.Series(f"metric.{name}", values, strict=False).cast(TYPES[kind])

    def _mixed(self, schemas: list[int | None], payloads: list[bytes | None]) -> dict[str, Any]:
        columns: dict[str, list[Any]] = {name: [None] * len(schemas) for name in self._metrics}
        for place, (number, payload) in enumerate(zip(schemas, payloads, strict=True)):
            if payload is not None:
                found = json.loads(payload) if number is None else self._schemas[number].unpack(payload)
                for name, value in found.items():
                    columns[name][place] = value
        return {
            name: [None if v is None else float(v) for v in values] if self._metrics[name] == "float" else values
            for name, values in columns.items()
        }


def _named(name: str, numbers: pl.Series, names: Mapping[int, str | None]) -> pl.Series:
    """A column of names from a column of their numbers."""
    return numbers.replace_strict(dict(names), return_dtype=pl.String).alias(name)


def _unpacked(schema: Schema, payload: bytes) -> dict[str, np.ndarray[Any, Any]]:
    cells = np.frombuffer(payload, np.uint8).reshape(-1, 8 * len(schema.names)) if schema.names else None
    columns = {}
    for place, (name, kind) in enumerate(zip(schema.names, schema.kinds, strict=True)):
        cell = np.ascontiguousarray(cells[:, 8 * place : 8 * place + 8])  # type: ignore[index]
        if kind == "?":
            columns[name] = cell[:, 0].astype(bool)
        else:
            columns[name] = cell.view("<f8" if kind == "d" else "<i8")[:, 0]
    return columns


def _metric_kinds(schemas: Any, ledger: Ledger) -> dict[str, Kind]:
    """Every metric's column kind: what all its values fit."""
    seen: dict[str, set[Kind]] = {}
    for schema in schemas:
        for name, code in zip(schema.names, schema.kinds, strict=True):
            seen.setdefault(name, set()).add(SCHEMA_KINDS[code])
    for payload in ledger.text_metrics():
        for name, value in json.loads(payload).items():
            kinds = seen.setdefault(name, set())
            if value is not None:
                kinds.add(_kind(value))
    return {name: _join(kinds) for name, kinds in seen.items()}


def _kind(value: Any) -> Kind:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int"
    return "float" if isinstance(value, float) else "str"


def _join(kinds: set[Kind]) -> Kind:
    if len(kinds) <= 1:
        return next(iter(kinds), "float")
    return "str" if "str" in kinds or "json" in kinds else "float"  # true is 1.0 beside numbers
