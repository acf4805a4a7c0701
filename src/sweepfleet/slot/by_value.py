"""A function in a file: what a notebook, a script or a closure has, and no module that another process can import.

The file has a line of JSON about the function, then cloudpickle's bytes. The line names the function's code
(`slot.identity`), so that the file of an unchanged function is left as it is, and the rows that it computes have one
code.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sweepfleet.grid.errors import UsageError

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says of its function."""

    name: str  # module:function, as the grid's `run` has it
    code: str  # a digest of the function's source and of what it refers to
    python: str = f"{sys.version_info.major}.{sys.version_info.minor}"  # its bytecode is of one minor version
    sweepfleet: int = FORMAT


def to_bytes(pickled: bytes, *, name: str, code: str) -> bytes:
    """The content of a function's file."""
    return json.dumps(asdict(Header(name, code))).encode() + b"\n" + pickled


def header_of(data: bytes) -> Header | None:
    """What a file says of its function; None when it is no such file."""
    try:
        return Header(**json.loads(data.partition(b"\n")[0]))
    except (ValueError, TypeError):
        return None


def read(path: Path) -> bytes:
    """The content of a function's file. Raises UsageError: it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"pickle: {path} cannot be read: {(error.strerror or str(error)).lower()}. sweepfleet.sweep writes it."
        ) from None


def load(path: Path, *, run: str) -> Callable[..., Any]:
    """The function of a file. Modules that it names are imported: put their folders on `sys.path` before.

    Args:
        path: of the file.
        run: what the grid calls it.

    Raises:
        UsageError: there is no such file, it is of another Python, or a module that the function needs is missing.
    """
    return loads(read(path), run=run, path=path)


def loads(data: bytes, *, run: str, path: Path) -> Callable[..., Any]:
    """The function of a file's content; errors as of `load`. `path` is the file's, for messages."""
    import cloudpickle

    header, ours = header_of(data), Header("", "")
    if header is None or header.sweepfleet != FORMAT:
        raise UsageError(f"pickle: {path} is not a function's file. sweepfleet.sweep writes one.")
    if header.python != ours.python:
        raise UsageError(
            f"pickle: {path} has the bytecode of Python {header.python}, and this is Python {ours.python}. Use the "
            "same minor version in both places, or put the function into a module of the project."
        )
    try:
        function: Callable[..., Any] = cloudpickle.loads(data.partition(b"\n")[2])
    except ModuleNotFoundError as error:
        raise UsageError(
            f"run: {run} needs the module {error.name!r}, which is neither in the project nor installed here. Add it "
            f"to the project, or send it along: sweep(..., by_value=[{error.name}])"
        ) from None
    except Exception as error:
        raise UsageError(
            f"run: {run} cannot be made from {path}: {type(error).__name__}: {error}. Put the function into a module "
            "of the project."
        ) from error
    return function
