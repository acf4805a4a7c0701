"""Which source files compute the points, and what is in them: a row's `code`.

For a Python target these are the modules that the child imported, each as it was when it was imported: the project's,
and those of other folders (`PYTHONPATH`, `sys.path`, packages installed as editable). For a command, the files that
its words name. Installed packages are the environment's (`env_hash`), and are not among them.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType
from typing import Any

from sweepfleet.grid.project_root import project_around
from sweepfleet.grid.sweep import Target
from sweepfleet.slot.context import Context
from sweepfleet.slot.project_files import Names

# A compiled file that is this little younger than its source may be of an edit before: Python compares whole seconds.
COMPILED_TOO_SOON_S = 2.0
WHOLE_BYTES = 1 << 24  # of a larger file that a command names, only both ends are read
END_BYTES = 1 << 20

_Stat = tuple[int, int, int]


def command_folders(target: Target, *, folder: Path, root: Path) -> tuple[Path, ...]:
    """Where the files that a command's words name are looked for, the first one first: the one that it starts in.

    Args:
        target: with a command; those of W&B's files start in the project's root.
        folder: the grid file's.
        root: the project's.
    """
    return (root, folder) if target.wandb else (folder, project_around(folder) or folder, root)


def digest(data: bytes) -> str:
    """A name for a file's content."""
    return hashlib.blake2b(data, digest_size=8).hexdigest()


def digest_of(path: Path) -> str | None:
    """A name for the content of the file that is there now; None when it cannot be read.

    Of a file above `WHOLE_BYTES` both ends and its length count: it is data, and is looked at before a run's points.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size <= WHOLE_BYTES:
                return digest(file.read())
            head = file.read(END_BYTES)
            file.seek(size - END_BYTES)
            return digest(b"%d\n" % size + head + file.read(END_BYTES))
    except OSError:
        return None


class Code:
    """The files of one child, by name, with their digests."""

    def __init__(self, names: Names) -> None:
        self.names = names
        self._files: dict[str, str] = {}
        self._reported: dict[str, str] | None = None

    def look(self) -> None:
        """Find new or changed files. Called before and after a job, so it must be fast."""

    def changed(self) -> bool:
        """Whether other code would compute the next point than the last one."""
        return False

    def news(self) -> dict[str, str] | None:
        """The files, if they have changed since the last call."""
        self.look()
        if self._files == self._reported:
            return None
        self._reported = dict(self._files)
        return self._reported


class Imported(Code):
    """The modules that this process imports, from now on."""

    def __init__(self, names: Names, *, pickle: Path | None = None, function: bytes | None = None) -> None:
        """Watch imports. Side effect: Python's source loader reports each import, until the process ends.

        `pickle` is a file with the function, no module; `function` is its content where that is elsewhere.
        """
        super().__init__(names)
        if pickle is not None and (found := digest_of(pickle) if function is None else digest(function)) is not None:
            self._files[os.path.relpath(pickle, names.base).replace(os.sep, "/")] = found
        self._seen: set[str] = set(sys.modules)
        self._count = len(sys.modules)
        self._original = SourceFileLoader.get_code
        watched = self

        def get_code(loader: SourceFileLoader, fullname: str) -> CodeType | None:
            return watched._get_code(loader, fullname)

        SourceFileLoader.get_code = get_code  # type: ignore[method-assign,assignment]

    def _get_code(self, loader: SourceFileLoader, fullname: str) -> CodeType | None:
        path = loader.get_filename(fullname)
        name = self.names.name_of_module(path)
        if name is None:
            return self._original(loader, fullname)
        before = _stat(path)
        data = loader.get_data(path)
        code: Any = None
        # Of files of one time and size Python cannot tell, and our cache outlives them: images, archives, rsync.
        if sys.pycache_prefix is None and not _compiled_too_soon(path):
            code = self._original(loader, fullname)
        if code is None or _stat(path) != before:
            code = loader.source_to_code(data, path)  # exactly what was read, whatever a cache says
        self._files[name] = digest(data)
        return code  # type: ignore[no-any-return]

    def look(self) -> None:
        """Add modules that were imported in other ways: compiled ones, and those of other loaders."""
        if len(sys.modules) == self._count:
            return
        self._count = len(sys.modules)
        for module in set(sys.modules) - self._seen:
            file = getattr(sys.modules.get(module), "__file__", None)
            name = self.names.name_of_module(file) if isinstance(file, str) else None
            if name is not None and isinstance(file, str) and name not in self._files:
                found = digest_of(Path(file))
                if found is not None:
                    self._files[name] = found
        self._seen = set(sys.modules)


def _compiled_too_soon(path: str) -> bool:
    try:
        compiled = os.stat(importlib.util.cache_from_source(path)).st_mtime  # noqa: PTH116
        return compiled - os.stat(path).st_mtime < COMPILED_TOO_SOON_S  # noqa: PTH116
    except (OSError, NotImplementedError):
        return False  # there is none


def _stat(path: str | Path) -> _Stat | None:
    try:
        found = os.stat(path)  # noqa: PTH116
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


class Named(Code):
    """The files that a command's words name, looked at again before each point."""

    def __init__(self, names: Names, context: Context) -> None:
        super().__init__(names)
        self._paths: list[tuple[str, Path]] = []
        folders = command_folders(context.target, folder=Path(context.folder), root=Path(context.root))
        for path in files_named(context.target.command, folders=folders):
            beside = ".." in path.parts  # `../common/run.sh`; a whole path is a program's or data's
            name = names.name_of_module(str(path)) if beside else names.name_of(str(path))
            if name is not None and all(name != known for known, _ in self._paths):
                self._paths.append((name, path))
        self._stats: list[_Stat | None] = []

    def look(self) -> None:
        """Read changed files again."""
        stats = [_stat(path) for _, path in self._paths]
        if stats == self._stats:
            return
        self._stats = stats
        found = {name: digest_of(path) for name, path in self._paths}
        self._files = {name: each for name, each in found.items() if each is not None}

    def changed(self) -> bool:
        """Whether a file was written to since the last look."""
        return [_stat(path) for _, path in self._paths] != self._stats


def files_named(command: Sequence[str], *, folders: Sequence[Path]) -> Iterator[Path]:
    """The files that a command's own words name, the first folder's first; what a point puts in does not count."""
    from sweepfleet.grid.command import (
        placeholders,  # which brings the YAML reader: a function's child starts faster without
    )

    before = ""
    for token in (token for word in command for token in _tokens(word)):
        if not any(placeholders(token)):
            path = Path(token)
            tries = [path]
            if before == "-m":
                path = Path(*token.split("."))
                tries += [path.with_name(f"{path.name}.py"), path / "__main__.py"]
            for folder in folders:
                found = next((folder / each for each in tries if _is_file(folder / each)), None)
                if found is not None:
                    yield found
                    break
        before = token


def _tokens(word: str) -> Iterator[str]:
    """A word, and what it is made of: `--config=fit.yaml`, or a line for a shell."""
    yield word
    try:
        parts = shlex.split(word)
    except ValueError:
        parts = []
    for part in parts:
        if part != word:
            yield part
        _, equals, value = part.partition("=")
        if equals and value:
            yield value


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # too long, or no path at all
        return False


def code_of(context: Context) -> Code:
    """Starts to watch the code that computes points in this process. Call it before the target is imported."""
    names = Names(folder=context.folder, root=context.root)
    if context.target.run is not None:
        pickle = context.target.pickle
        function = base64.b64decode(context.function) if context.function is not None else None
        return Imported(names, pickle=Path(context.folder, pickle) if pickle else None, function=function)
    return Named(names, context)
