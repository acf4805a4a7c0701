"""What is on the way of a target's imports: where they are looked for, and what they do not find."""

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
    """Within it a target does not find the command's own modules; after it they are back."""
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
    """Have modules looked for in these folders, in this order, before everywhere else."""
    first = list(dict.fromkeys(folders))
    sys.path[:] = [*first, *(entry for entry in sys.path if entry not in first)]
