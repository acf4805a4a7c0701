"""What is on the way of a target's imports: where they are looked for, and what they do not find."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

HOME = Path(__file__).resolve().parents[1]  # the package


@contextlib.contextmanager
def aside() -> Iterator[None]:
    """The main module is out of the way within it, and back after it."""
    main = sys.modules["__main__"]
    put_aside()
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def put_aside() -> None:
    """Replace the main module by an empty one: processes that multiprocessing spawns would import it."""
    sys.modules["__main__"] = ModuleType("__main__")


def put_first(folders: Sequence[str]) -> None:
    """Have modules looked for in these folders, in this order, before everywhere else."""
    first = list(dict.fromkeys(folders))
    sys.path[:] = [*first, *(entry for entry in sys.path if entry not in first)]
