"""Data files that travel without Git: what `[tool.sweepfleet] include` names, and their archives."""

from __future__ import annotations

import gzip
import hashlib
import os
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from sweepfleet.grid.errors import UsageError
from sweepfleet.grid.project_root import SETTINGS
from sweepfleet.grid.project_settings import settings_of
from sweepfleet.machine.data_files import Content, Part, digest

MOST_MB = 500  # every worker fetches a release before it computes
NEVER = frozenset({".git", ".sweepfleet", "__pycache__"})
SIGNS = "*?["  # of a pattern
SHOWN = 5  # the largest files, or problems of a kind, that a message names
FIX = f"Correct `include` in {SETTINGS}, or the files; paths are relative to the project, e.g. data/ or models/*.bin."


@dataclass(frozen=True, slots=True)
class Settings:
    """What the project's settings say of the files that travel."""

    include: tuple[str, ...]
    max_mb: float


def read_settings(root: Path) -> Settings:
    """The settings of the project at `root`. Raises UsageError: they cannot be used; with all problems."""
    found = settings_of(root)
    include, max_mb = found.get("include", []), found.get("max_mb", MOST_MB)
    problems = []
    if not isinstance(include, list) or not all(isinstance(entry, str) and entry.strip() for entry in include):
        problems.append(
            f'include is {include!r}. It is a list of paths and patterns, e.g. ["data/", "models/*.bin"].'
        )
    if isinstance(max_mb, bool) or not isinstance(max_mb, int | float) or not max_mb > 0:
        problems.append(f"max_mb is {max_mb!r}. It is a number of megabytes above 0, e.g. {MOST_MB}.")
    if problems:
        raise UsageError("\n".join(f"{SETTINGS}, [tool.sweepfleet]: {problem}" for problem in problems))
    return Settings(tuple(dict.fromkeys(include)), max_mb)


def included(root: Path, tracked: Iterable[str]) -> tuple[Part, ...]:
    """What travels of the project at `root` beside what Git tracks; reads all of it.

    Raises:
        UsageError: entries or files cannot be used; with all problems.
    """
    entries = read_settings(root).include
    if not entries:
        return ()
    git, problems = frozenset(tracked), list[str]()
    found = {entry: sorted(set(_found(root, entry, git, problems))) for entry in entries}
    everything = git | {name for names in found.values() for name in names}
    seen: set[str] = set()
    parts = []
    for entry, names in found.items():
        files: dict[str, Content] = {}
        links: dict[str, str] = {}
        for name in names:
            if name not in seen:  # of two entries that name it, the first has it
                _take(root, name, files, links, everything, problems)
        seen.update(names)
        parts.append(Part(entry, files, links))
    if problems:
        lines = "".join(f"\n  {problem}" for problem in problems)
        raise UsageError(f"{SETTINGS}, [tool.sweepfleet] include cannot be used; nothing was sent.{lines}\n{FIX}")
    return tuple(part for part in parts if part.files or part.links)


def _found(root: Path, entry: str, git: frozenset[str], problems: list[str]) -> Iterator[str]:
    """The files that an entry names and Git does not track, by their paths in the project."""
    path = PurePosixPath(entry)
    if path.is_absolute() or ".." in path.parts:
        problems.append(f"{entry}: is outside the project. Copy the files into it.")
        return
    if not NEVER.isdisjoint(path.parts):
        problems.append(f"{entry}: is never sent.")
        return
    is_pattern = any(sign in entry for sign in SIGNS)
    matches = sorted(root.glob(entry)) if is_pattern else [root / path]
    if not is_pattern and not os.path.lexists(root / path):
        problems.append(f"{entry}: does not exist in {root}.")
        return
    empty = True
    for match in matches:
        inside = [match, *(folder for folder in match.parents if folder != root and folder.is_relative_to(root))]
        link = next((place for place in inside if place.is_symlink()), None)
        if link is not None and (link != match or match.is_dir()):
            problems.append(f"{_name(root, link)}: is a link to {_target(link)}. Put the folder itself in its place.")
            empty = False
            continue
        for file in _files(match, problems, root=root):
            empty = False
            if _name(root, file) not in git:
                yield _name(root, file)
    if empty:
        problems.append(f"{entry}: {'matches no file' if is_pattern else 'has no files'} in {root}.")


def _files(place: Path, problems: list[str], *, root: Path) -> Iterator[Path]:
    if place.is_symlink() or not place.is_dir():
        if NEVER.isdisjoint(place.relative_to(root).parts):
            yield place
        return

    def unreadable(error: OSError) -> None:
        problems.append(f"{_name(root, Path(error.filename))}: cannot be read: {error.strerror}.")

    for folder, folders, names in os.walk(place, onerror=unreadable):
        folders[:] = sorted(set(folders) - NEVER)
        for name in (*names, *(one for one in folders if Path(folder, one).is_symlink())):
            if name not in NEVER:
                yield Path(folder, name)


def _take(
    root: Path,
    name: str,
    files: dict[str, Content],
    links: dict[str, str],
    everything: frozenset[str],
    problems: list[str],
) -> None:
    """Note a file's content, or where a link leads."""
    path = root / name
    if path.is_symlink():
        target = _target(path)
        led = os.path.relpath(os.path.realpath(path), os.path.realpath(root))
        travels = led in everything or any(one.startswith(f"{led}/") for one in everything)
        if os.path.isabs(target) or not travels:  # noqa: PTH117
            problems.append(
                f"{name}: is a link to {target}, which does not travel. Put the file itself in its place."
            )
        else:
            links[name] = target
    elif not path.is_file():
        problems.append(f"{name}: is not a file.")
    else:
        try:
            files[name] = Content(digest(path), path.stat().st_size, os.access(path, os.X_OK))
        except OSError as error:
            problems.append(f"{name}: cannot be read: {error.strerror}.")


def check_size(root: Path, tracked: Iterable[str], parts: Iterable[Part]) -> None:
    """Refuse what is too large for every worker to fetch.

    Raises:
        UsageError: the project's files are larger than `max_mb`; with the largest ones.
    """
    most_mb = read_settings(root).max_mb
    sizes = {name: (root / name).lstat().st_size for name in tracked if (root / name).is_file()}
    sizes |= {name: content.size for part in parts for name, content in part.files.items()}
    total = sum(sizes.values())
    if total <= most_mb * 1e6:
        return
    largest = sorted(sizes, key=lambda name: (-sizes[name], name))[:SHOWN]
    lines = "".join(f"\n  {megabytes(sizes[name])}  {name}" for name in largest)
    raise UsageError(
        f"The project's files have {megabytes(total)}; every worker would fetch them, and the limit is {most_mb:,g} "
        f"MB. Nothing was sent. The largest:{lines}\nRemove what targets do not read from Git or from `include`, or "
        f"raise the limit in {SETTINGS}, [tool.sweepfleet]: max_mb = {-(-total // 1_000_000) + 1}"
    )


def megabytes(size: int) -> str:
    """A size for people."""
    return f"{size / 1e6:,.1f} MB"


def pack(part: Part, root: Path, archive: Path) -> str:
    """Write the archive of a part's files; its SHA-256.

    Raises:
        UsageError: a file has changed since it was listed.
    """
    with (
        archive.open("wb") as file,
        gzip.GzipFile(fileobj=file, mode="wb", mtime=0, filename="", compresslevel=6) as zipped,
        tarfile.open(fileobj=zipped, mode="w") as packed,
    ):
        for name, content in part.files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = content.size, 0o755 if content.program else 0o644
            with (root / name).open("rb") as source:
                reading: Any = _Hashed(source)
                try:
                    packed.addfile(info, reading)
                except OSError as error:  # it has become shorter
                    raise _changed(name) from error
            if reading.seen.hexdigest() != content.sha256:
                raise _changed(name)
    return digest(archive)


class _Hashed:
    """A file that is read, and what was read."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.seen = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        """Some bytes of it."""
        data: bytes = self._file.read(size)
        self.seen.update(data)
        return data


def _changed(name: str) -> UsageError:
    return UsageError(
        f"{name} was changed while it was packed. Nothing was made current. Push again when it is written."
    )


def _name(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()


def _target(link: Path) -> str:
    return os.readlink(link)  # noqa: PTH115 - as it is written, not resolved
