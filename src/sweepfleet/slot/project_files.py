"""The names of a project's files."""

from __future__ import annotations

import os
import sys
import sysconfig
import tempfile
from pathlib import Path

from sweepfleet.grid.project_root import project_around
from sweepfleet.slot import own_packages
from sweepfleet.slot.modules import HOME

OURS = str(HOME) + os.sep
NOT_THE_PROJECTS = frozenset({"site-packages", "dist-packages", ".venv", "venv", ".git", "node_modules"})


class Names:
    """Names of source files, relative to the project and so the same in every copy of it."""

    def __init__(self, *, folder: str, root: str) -> None:
        """Decide what the project is.

        Args:
            folder: the grid file's.
            root: the folder that modules are looked for in, too. It is the project when it holds `folder`; else that
                is the one around `folder`, and files below `root` are called by their whole paths.
        """
        self._root = os.path.abspath(root)  # noqa: PTH100 - links stay: a module's file is below them
        place = os.path.abspath(folder)  # noqa: PTH100
        self.base = self._root if _is_below(place, self._root) else str(project_around(Path(place)) or place)
        self._environment = sys.prefix + os.sep
        passed_over = [sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), os.path.dirname(os.__file__)]  # noqa: PTH120
        if sys.prefix != sys.base_prefix:
            passed_over.append(sys.prefix)
        scratch = tempfile.gettempdir()  # where compilers of kernels write modules of their own
        if not _is_below(self.base, scratch):
            passed_over.append(scratch)
        places = {place for each in passed_over for place in (each, os.path.realpath(each))}
        self._passed_over = tuple(place.rstrip(os.sep) + os.sep for place in places)
        self._real_base = os.path.realpath(self.base)
        self._real_folders: dict[str, str] = {}
        self._installed = own_packages.names(self.base)
        self._names: dict[str, str | None] = {}  # of modules: each is asked for when it is imported, and once more

    def name_of(self, path: str) -> str | None:
        """A file's name; None when it is not the project's."""
        path = os.path.abspath(path)  # noqa: PTH100
        for file, base in ((path, self.base), (self._real(path), self._real_base)):
            if _is_below(file, base):
                name = os.path.relpath(file, base).replace(os.sep, "/")
                return self._installed.get(name, name) if self._counts(file, name) else None
        return path if _is_below(path, self._root) and self._counts(path, path) else None

    def name_of_module(self, path: str) -> str | None:
        """The name of an imported file, wherever it is; None when it is installed, or temporary."""
        if path not in self._names:
            self._names[path] = self._name_of_module(path)
        return self._names[path]

    def _name_of_module(self, path: str) -> str | None:
        name = self.name_of(path)
        if name is not None:
            return name
        file = os.path.abspath(path)  # noqa: PTH100
        real = self._real(file)
        parts = {*Path(file).parts, *Path(real).parts}
        if not NOT_THE_PROJECTS.isdisjoint(parts) or (file + os.sep).startswith(self._passed_over):
            return None
        if (real + os.sep).startswith((OURS, *self._passed_over)):
            return None
        return os.path.relpath(file, self.base).replace(os.sep, "/")

    def path_of(self, name: str) -> Path:
        """Where the file of this name is, or was."""
        return Path(self.base, name)

    def _real(self, file: str) -> str:
        """`os.path.realpath`, which asks for each folder on the way; a library's thousand modules share a few."""
        folder, name = os.path.split(file)
        if os.path.islink(file):  # noqa: PTH114
            return os.path.realpath(file)
        if folder not in self._real_folders:
            self._real_folders[folder] = os.path.realpath(folder)
        return os.path.join(self._real_folders[folder], name)  # noqa: PTH118

    def _counts(self, file: str, name: str) -> bool:
        installed = not NOT_THE_PROJECTS.isdisjoint(name.split("/")) or (
            file.startswith(self._environment) and not self.base.startswith(sys.prefix)
        )
        return not installed and not self._real(file).startswith(OURS)


def _is_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)
