"""Reads the rows of a Parquet file with polars, which no other module of grid/ imports."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any


class ParquetError(Exception):
    """A file that is not Parquet; the message says why."""


def rows(path: Path, *, most: int) -> Iterator[dict[str, Any]]:
    """The first rows, as Python values. Raises ParquetError, and OSError when the file does not exist."""
    import polars as pl  # half a second, and few sweeps need it

    if not path.is_file():
        raise FileNotFoundError(2, "No such file or directory")
    try:
        return pl.read_parquet(path, n_rows=most).iter_rows(named=True)
    except pl.exceptions.PolarsError as error:
        raise ParquetError(str(error).partition("\n")[0]) from None
