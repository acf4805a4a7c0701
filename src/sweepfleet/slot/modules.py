"""The import path of a target: where modules are looked for, and which ones it does not see."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

HOME = Path(__file__).resolve().parents[1]  # the package


OTHERS = ("__main__", "tasks")  # the second is what invoke has loaded of a project


@contextlib.contextmanager
def aside() -> Iterator[None]:
    """Hide the command's own modules from a target, within this context."""
    before = {name: sys.modules[name] for name in OTHERS if name in sys.modules}
    sys.modules.pop("tasks", None)
    put_aside()
    try:
        yield
    finally:
        sys.modules.pop("tasks", None)  # the target's
        sys.modules.update(before)


def put_aside() -> None:
    """Replace the main module by an empty one: processes that multiprocessing spawns would import it."""
    sys.modules["__main__"] = ModuleType("__main__")


def put_first(folders: Sequence[str]) -> None:
    """Put these folders, in this order, at the front of the module path."""
    first = list(dict.fromkeys(folders))
    sys.path[:] = [*first, *(entry for entry in sys.path if entry not in first)]
