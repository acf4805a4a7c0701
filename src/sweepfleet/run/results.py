"""The results of a run as tables: one row a point, in the grid's order, made from the ledger alone."""

from __future__ import annotations

import functools
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from sweepfleet.grid.space import Space
from sweepfleet.run.codes import labels
from sweepfleet.run.columns import Seen, column, metadata
from sweepfleet.run.folder import RunFolder
from sweepfleet.run.ledger import Ledger
from sweepfleet.run.long import write_long
from sweepfleet.slot.records import Schema, Status

CHUNK = 1 << 16
SMALL_BYTES = 1 << 20  # a file that is read whole: each of many questions then takes half the time
ASIDE = ".results."  # and a pid: where that process makes its tables
STATUS_NAMES: dict[int, str | None] = {int(Status.DONE): "done", int(Status.FAILED): "failed"}
SCHEMA_KINDS = {"d": "float", "q": "int", "?": "bool"}


def opened(path: Path) -> pl.LazyFrame:
    """A results file to ask questions of, and to read while they are asked; a small one is read at once.

    Raises OSError when it is not there.
    """
    if path.stat().st_size > SMALL_BYTES:
        return pl.scan_parquet(path)
    return pl.read_parquet(path).lazy()


def write_results(folder: RunFolder, ledger: Ledger, space: Space) -> None:
    """Write results.parquet, results.csv and, where points returned rows, results_long.parquet.

    Each appears whole. Memory does not grow with the rows.
    """
    _clear(folder)
    aside = folder.path / f"{ASIDE}{os.getpid()}"
    aside.mkdir()
    try:
        parts = []
        made = Table(ledger, space)
        for number, frame in enumerate(frames(ledger, made)):
            part = aside / f"{number:06}.parquet"
            frame.write_parquet(part, compression="lz4", statistics=False)
            parts.append(part)
        table = pl.scan_parquet(parts) if parts else made.frame([]).lazy()
        for write, path in (
            (functools.partial(table.sink_parquet, metadata=made.metadata()), folder.parquet),
            (table.sink_csv, folder.csv),
        ):
            whole = aside / path.name
            write(whole)
            whole.replace(path)
        write_long(folder.long, ledger, aside=aside)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _clear(folder: RunFolder) -> None:
    """Remove half-written tables that killed processes left."""
    import psutil

    for path in folder.path.glob(f"{ASIDE}*"):
        pid = path.name.removeprefix(ASIDE)
        if pid.isdecimal() and (int(pid) == os.getpid() or not psutil.pid_exists(int(pid))):
            shutil.rmtree(path, ignore_errors=True)


def frames(ledger: Ledger, table: Table) -> Iterator[pl.DataFrame]:
    """The rows in the grid's order, `CHUNK` at a time, all with the same columns and types."""
    for rows in ledger.scan(chunk=CHUNK):
        yield table.frame(rows)


def param_series(space: Space, columns: Mapping[str, list[Any]]) -> Iterator[pl.Series]:
    """The `param.*` columns of a table, from every parameter's values."""
    for name in space.names:
        yield column(f"param.{name}", columns[name], space.kinds[name])


class Table:
    """Columns and types of one run, and how ledger rows become them."""

    def __init__(self, ledger: Ledger, space: Space) -> None:
        self._space = space
        self._schemas = ledger.schemas_in_use()
        self._sources = ledger.sources()
        self._codes: dict[str | None, str] = labels(ledger.codes())
        self._seen = _metrics_seen(self._schemas, ledger)
        self._metrics = {name: seen.kind for name, seen in self._seen.items()}

    def metadata(self) -> dict[str, str]:
        """What results.parquet says of its text columns."""
        return metadata(
            json_columns=[f"param.{name}" for name in self._space.names if self._space.kinds[name] == "json"],
            number_columns=[f"metric.{name}" for name, seen in self._seen.items() if seen.numbers_in_text],
        )

    def frame(self, rows: Sequence[tuple[Any, ...]]) -> pl.DataFrame:
        """Ledger rows as a table; without any, its columns."""
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
            _named("code", source, {number: self._codes.get(each.code) for number, each in self._sources.items()}),
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
            yield column(f"metric.{name}", [None] * count if values is None else values, kind)

    def _mixed(self, schemas: list[int | None], payloads: list[bytes | None]) -> dict[str, Any]:
        columns: dict[str, list[Any]] = {name: [None] * len(schemas) for name in self._metrics}
        for place, (number, payload) in enumerate(zip(schemas, payloads, strict=True)):
            if payload is not None:
                found = json.loads(payload) if number is None else self._schemas[number].unpack(payload)
                for name, value in found.items():
                    columns[name][place] = value
        return columns


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


def _metrics_seen(schemas: Mapping[int, Schema], ledger: Ledger) -> dict[str, Seen]:
    """What kinds of value every metric has."""
    seen: dict[str, Seen] = {}
    for schema in schemas.values():
        for name, code in zip(schema.names, schema.kinds, strict=True):
            seen.setdefault(name, Seen()).kinds.add(SCHEMA_KINDS[code])
    for payload in ledger.text_metrics():
        for name, value in json.loads(payload).items():
            seen.setdefault(name, Seen()).add(value)
    for number, schema in schemas.items():
        asking = [n for n, c in zip(schema.names, schema.kinds, strict=True) if c == "q" and seen[n].asks_for_ints]
        for payloads in ledger.packed_metrics(number, chunk=CHUNK) if asking else ():
            columns = _unpacked(schema, b"".join(payloads))
            for name in asking:
                seen[name].add_ints(columns[name])
    return seen
