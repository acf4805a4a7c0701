"""results_long.parquet: several rows a point, from those that returned a list of rows or a frame."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from sweepfleet.run.columns import Seen, column, metadata
from sweepfleet.run.ledger import Ledger
from sweepfleet.slot.tables import columns_of

CHUNK_ROWS = 1 << 16


def write_long(path: Path, ledger: Ledger, *, aside: Path) -> None:
    """Write the rows of all finished points in the grid's order, or remove the file where there are none.

    Its columns are `point_id`, which joins it to results.parquet, `row`, from 0 in each point, and those that the
    points returned; what a point does not have is null.

    Args:
        path: of the file, which appears whole.
        ledger: the run's.
        aside: a folder for its parts.
    """
    seen: dict[str, Seen] = {}
    found = False
    for _, rows in ledger.tables():
        found = True
        for name, values in columns_of(rows).items():
            note = seen.setdefault(name, Seen()).add
            for value in values:
                note(value)
    if not found:
        path.unlink(missing_ok=True)
        return
    kinds = {name: each.kind for name, each in seen.items()}
    parts = []
    for number, frame in enumerate(_frames(ledger, kinds)):
        part = aside / f"long-{number:06}.parquet"
        frame.write_parquet(part, compression="lz4", statistics=False)
        parts.append(part)
    whole = aside / path.name
    said = metadata(json_columns=(), number_columns=[name for name, each in seen.items() if each.numbers_in_text])
    pl.scan_parquet(parts).sink_parquet(whole, metadata=said)
    whole.replace(path)


def _frames(ledger: Ledger, kinds: Mapping[str, str]) -> Iterator[pl.DataFrame]:
    """All rows, some `CHUNK_ROWS` at a time, with the same columns and types."""
    waiting: list[pl.DataFrame] = []
    count = 0
    for point_id, rows in ledger.tables():
        columns = columns_of(rows)
        height = len(next(iter(columns.values()), ()))
        waiting.append(_frame(point_id, columns, height, kinds))
        count += height
        if count >= CHUNK_ROWS:
            yield pl.concat(waiting)
            waiting, count = [], 0
    if waiting:
        yield pl.concat(waiting)


def _frame(point_id: str, columns: Mapping[str, list[Any]], height: int, kinds: Mapping[str, str]) -> pl.DataFrame:
    return pl.DataFrame(
        [
            pl.Series("point_id", [point_id] * height, pl.String),
            pl.Series("row", range(height), pl.Int64),
            *(column(name, columns.get(name, [None] * height), kind) for name, kind in kinds.items()),
        ]
    )
