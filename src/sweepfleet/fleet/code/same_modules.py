"""Whether the cluster's release has the modules that an Executor's calls need, as they are in this checkout."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from sweepfleet.fleet.code.needs import modules_of
from sweepfleet.fleet.code.push import Pushed, since
from sweepfleet.fleet.code.same_code import PACKAGE, compare, module_files, reached, shown
from sweepfleet.fleet.fleet import Fleet
from sweepfleet.grid.errors import UsageError
from sweepfleet.slot.project_files import NOT_THE_PROJECTS


class SameModules:
    """A release beside this checkout; compared once."""

    def __init__(self, fleet: Fleet, release: Pushed) -> None:
        """Compare them. Raises UsageError and ClusterError as `same_code.difference` does."""
        self._fleet, self._release = fleet, release
        self._root = fleet.root.resolve()
        found = compare(fleet, release)
        self._different = found.names if found is not None else ()
        self._always = found.always if found is not None else frozenset()
        self._checked: set[Path] = set()

    def check_loaded(self) -> None:
        """Raise UsageError where a module of the project that this process has imported, or what it imports, differs.

        The program's own file and notebooks do not count: functions in them are sent by value.
        """
        self._check(self._loaded())

    def check_function(self, pickled: bytes) -> None:
        """The same for what a function refers to and its code imports. `pickled` is cloudpickle's."""
        if not self._different:
            return
        places = [Path(entry or ".") for entry in sys.path]
        files = (file for name in modules_of(b"\n" + pickled) for file in module_files(name.split("."), places))
        self._check((*self._loaded(), *files))

    def _loaded(self) -> Iterator[Path]:
        for name, module in list(sys.modules.items()):
            file = getattr(module, "__file__", None)
            if name not in ("__main__", "__mp_main__") and isinstance(file, str) and file.endswith(".py"):
                yield Path(file)

    def _check(self, files: Iterable[Path]) -> None:
        if not self._different:
            return
        own = {path.resolve() for path in files if self._is_own(path)} - self._checked
        self._checked |= own
        needed = {path.resolve() for path in reached(own, places=[self._root])}
        bad = [name for name in self._different if name in self._always or (self._root / name).resolve() in needed]
        if bad:
            what = "another sweepfleet" if any(name.startswith(PACKAGE) for name in bad) else "other code"
            raise UsageError(
                f"The release on stack {self._fleet.outputs.stack} is {self._release.label}, {since(self._release)}, "
                f"and has {what} than this checkout: {shown(tuple(bad))}. Commit, then push it: inv push"
            )

    def _is_own(self, path: Path) -> bool:
        place = path.resolve()
        return place.is_relative_to(self._root) and NOT_THE_PROJECTS.isdisjoint(place.parts)
