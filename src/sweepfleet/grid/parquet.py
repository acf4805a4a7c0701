"""The rows of a Parquet file, which polars reads: the one place in this room that knows it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any


class ParquetError(Exception):
    """A file that is not Parquet; the message says why."""


def rows(path: Path, *, most: int) -> Iterator[dict[str, Any]]:
    """At most so many rows, with Python's values. Raises ParquetError, and OSError when there is no such file."""
    import polars as pl  # half a second, and few sweeps need it

    if not path.is_file():
        raise FileNotFoundError(2, "No such file or directory")
    try:
        return pl.read_parquet(path, n_rows=most).iter_rows(named=True)
    except pl.exceptions.PolarsError as error:
        raise ParquetError(str(error).partition("\n")[0]) from None
