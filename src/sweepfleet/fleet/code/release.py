"""A release: the project's tracked files at a commit, as one archive that is named by its content.

Data files that the project's settings include are archives of their own, which the release lists.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sweepfleet.fleet.code.environment.carry import carry, version
from sweepfleet.fleet.code.git import changed as git_changed
from sweepfleet.fleet.code.git import git
from sweepfleet.fleet.code.included import check_size, included
from sweepfleet.grid.errors import UsageError
from sweepfleet.machine.data_files import LIST, Part, identities, to_json
from sweepfleet.machine.facts import CODE

PACKAGE = Path(__file__).resolve().parents[2]
NOTE = "release.json"  # in the archive: where it comes from
SHOWN = 8  # changed files that a message names


@dataclass(frozen=True, slots=True)
class Release:
    """An archive, ready to be sent."""

    sha256: str
    commit: str
    dirty: bool
    data: bytes
    parts: tuple[Part, ...] = ()  # data files, each part an archive of its own
    root: Path = field(default=Path(), compare=False)  # where their files are

    @property
    def label(self) -> str:
        """How to name it to a person."""
        return label(self.commit, dirty=self.dirty)


def label(commit: str, *, dirty: bool) -> str:
    """How to name a release to a person."""
    return f"{commit[:10]}{' with changes' if dirty else ''}"


def make_release(root: Path, *, dirty: bool) -> Release:
    """Pack the checkout at `root`, which stays as it is; builds its packages in a folder for a while.

    The same files make the same archive, byte for byte, wherever zlib is the same; where it is not, a push sends the
    code once more.

    Args:
        root: of a Git repository with a lock file; see docs/environment.md.
        dirty: take tracked files as they are, changed ones too.

    Raises:
        UsageError: files were changed and `dirty` is not set; this is no repository; or its environment cannot be
            settled, its own packages not be built, or data files not be sent.
        ClusterError: git failed.
    """
    commit = git(root, "rev-parse", "HEAD").strip()
    changed = git_changed(root)
    _refuse_changed(changed, dirty=dirty)
    names = tracked(root)
    parts = included(root, names)
    check_size(root, names, parts)
    environment = carry(root, names)
    _refuse_changed(environment.changed, dirty=dirty)
    changed += environment.changed
    note = {
        "commit": commit,
        "dirty": bool(changed),
        "outside": environment.outside,
        "package": package_digest(),
        "sweepfleet": version(),
        **({"data": identities(parts)} if parts else {}),
    }
    packed = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w") as archive,
    ):
        for name in sorted(names):
            _add_file(archive, root / name, name)
        for name, file in carried().items():
            _add_file(archive, file, name)
        if parts:
            _add(archive, LIST.as_posix(), to_json(parts).encode(), mode=0o644)
        for name, (content, mode) in sorted(environment.files.items()):
            _add(archive, name, content, mode=mode)
        _add(archive, NOTE, (json.dumps(note, sort_keys=True) + "\n").encode(), mode=0o644)
    data = packed.getvalue()
    return Release(hashlib.sha256(data).hexdigest(), commit, bool(changed), data, parts, root)


def _refuse_changed(changed: Sequence[str], *, dirty: bool) -> None:
    if changed and not dirty:
        more = f", and {len(changed) - SHOWN} more" if len(changed) > SHOWN else ""
        raise UsageError(
            f"Changed and not committed: {', '.join(changed[:SHOWN])}{more}. Commit them, so that results can be "
            "reproduced from the commit that they name; or push the files as they are: inv push --dirty"
        )


def carried() -> dict[str, Path]:
    """What a release has beside the project's files: this package. All machines run the code of whoever pushes."""
    found = (path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {f"{CODE.as_posix()}/{path.relative_to(PACKAGE.parent).as_posix()}": path for path in sorted(found)}


def package_digest() -> str:
    """A name for the content of this package, as releases carry it."""
    digest = hashlib.sha256()
    for name, file in carried().items():
        digest.update(f"{name}\0".encode() + file.read_bytes())
    return digest.hexdigest()


def tracked(root: Path) -> list[str]:
    """The files that a release has: what Git tracks, by their paths in the project; errors as of `git`."""
    return [name for name in git(root, "ls-files", "--recurse-submodules", "-z").split("\0") if name]


def _add_file(archive: tarfile.TarFile, file: Path, name: str) -> None:
    if file.is_symlink():
        link = tarfile.TarInfo(name)
        link.type, link.linkname = tarfile.SYMTYPE, os.readlink(file)  # noqa: PTH115 - as it is written, not resolved
        archive.addfile(link)
    elif file.is_file():  # a tracked file that was deleted, or a submodule, is not
        _add(archive, name, file.read_bytes(), mode=0o755 if os.access(file, os.X_OK) else 0o644)


def _add(archive: tarfile.TarFile, name: str, content: bytes, *, mode: int) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(content), mode
    archive.addfile(info, io.BytesIO(content))
