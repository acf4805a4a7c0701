"""Our own modules, out of the way of the user's: `grid.py` beside a target is the `grid` that the target imports."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

HOME = Path(__file__).resolve().parent.parent
# Top-level names, in a project's folder too: a user's helper may well be called so.
OURS = ("bootstrap", "fleet", "grid", "infra", "pipeline", "sweep", "tasks", "worker")


def put_aside() -> dict[str, ModuleType]:
    """Take our modules out of `sys.modules`, where a target's imports would find them; returns them by name.

    Whoever holds one goes on with it; only what is imported from now on by such a name is looked for anew. The main
    module is replaced by an empty one: a process that multiprocessing spawns would import it, by a name of ours.
    """
    names = [name for name, module in sys.modules.items() if _is_ours(name, module)]
    found = {name: sys.modules.pop(name) for name in names}
    found["__main__"] = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    return found


@contextlib.contextmanager
def aside() -> Iterator[None]:
    """Our modules are out of the way within it, and back after it, in place of what the target has imported."""
    ours = put_aside()
    try:
        yield
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] in OURS]:
            del sys.modules[name]
        sys.modules.update(ours)


def put_first(folders: Sequence[str]) -> None:
    """Have modules looked for in these folders, in this order, before everywhere else."""
    first = list(dict.fromkeys(folders))
    sys.path[:] = [*first, *(entry for entry in sys.path if entry not in first)]


def _is_ours(name: str, module: ModuleType) -> bool:
    top = name.partition(".")[0]
    if top not in OURS:
        return False
    file = getattr(module, "__file__", None)
    return file is None or Path(file).is_relative_to(HOME / top)
