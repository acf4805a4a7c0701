"""Data files that travel with a release without Git: what a release says of them, and how they come into its folder.

A release lists them by content. Their archive is named by that list, so it is sent and stored once, however many
releases have it; on a machine the releases share the files by hard links.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from sweepfleet.machine.aws import Aws
from sweepfleet.machine.facts import HOME, KEYS

LIST = Path(".sweepfleet", "data.json")  # in a release
NEW = ".new-"  # before the name of a folder that is being made
LEFT_S = 86_400.0  # after which such a folder is of a power cut


class DataError(Exception):
    """Data files are not what the release lists; the message says which."""


@dataclass(frozen=True, slots=True)
class Content:
    """A file's."""

    sha256: str
    size: int  # in bytes
    program: bool = False  # may be executed


@dataclass(frozen=True, slots=True)
class Part:
    """What one entry of `include` names."""

    entry: str  # as written
    files: Mapping[str, Content]  # by their paths in the project, with /
    links: Mapping[str, str]  # likewise, with what they lead to

    @property
    def id(self) -> str:
        """A name for its files' contents."""
        return hashlib.sha256(json.dumps(self._files(), sort_keys=True).encode()).hexdigest()

    @property
    def size(self) -> int:
        """In bytes."""
        return sum(file.size for file in self.files.values())

    def to_dict(self) -> dict[str, object]:
        """As the release lists it."""
        return {"entry": self.entry, "files": self._files(), "links": dict(self.links)}

    def _files(self) -> dict[str, list[object]]:
        return {name: [file.sha256, file.size, file.program] for name, file in self.files.items()}


def to_json(parts: tuple[Part, ...]) -> str:
    """The list of a release."""
    return json.dumps([part.to_dict() for part in parts], sort_keys=True) + "\n"


def identities(parts: tuple[Part, ...]) -> dict[str, str]:
    """What a release's note says of its data: the content of each part, links too."""
    return {part.entry: hashlib.sha256(to_json((part,)).encode()).hexdigest() for part in parts}


def from_json(text: str | bytes) -> tuple[Part, ...]:
    """What `to_json` wrote."""
    return tuple(
        Part(
            entry=one["entry"],
            files={name: Content(*content) for name, content in one["files"].items()},
            links=one["links"],
        )
        for one in json.loads(text)
    )


def parts_of(release: Path) -> tuple[Part, ...]:
    """What a release lists; nothing where it has no data."""
    file = release / LIST
    return from_json(file.read_bytes()) if file.exists() else ()


def add(aws: Aws, release: Path) -> None:
    """Have all data files in a release's folder; what is there stays, so that a try that was cut off goes on.

    Raises:
        AwsError: an archive cannot be read.
        DataError: it is not what the release lists.
    """
    for part in parts_of(release):
        lacking = [name for name in part.files if not _place(release, name).exists()]
        if lacking:
            source = bring(aws, part)
            for name in lacking:
                place = _place(release, name)
                place.parent.mkdir(parents=True, exist_ok=True)
                with contextlib.suppress(FileExistsError):  # another process adds them, too
                    os.link(source / name, place)
        for name, target in part.links.items():
            place = _place(release, name)
            place.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                place.symlink_to(target)


def bring(aws: Aws, part: Part) -> Path:
    """The folder of a part's files on this machine: of what a laptop has just sent, else from the bucket.

    Raises as `add`.
    """
    place = HOME.data(part.id)
    if place.exists():
        return place
    sent = HOME.incoming_data(part.id)
    place.parent.mkdir(exist_ok=True)
    with TemporaryDirectory(prefix=NEW, dir=place.parent) as folder:
        new, archive = Path(folder, "new"), Path(folder, "archive")
        new.mkdir()
        try:
            if not sent.exists():
                aws.get(KEYS.data(part.id), archive)
            _unpack(sent if sent.exists() else archive, new, part)
        except DataError:
            sent.unlink(missing_ok=True)  # the next push sends it again
            raise
        os.sync()  # a power cut after the renaming must not leave empty files under the final name
        try:
            new.rename(place)
        except OSError:
            if not place.exists():  # else another process was first
                raise
    return place


def prune(releases: set[Path]) -> None:
    """Remove from this disk what none of these releases lists. A release that is in use keeps its files."""
    kept = {part.id for release in releases for part in parts_of(release)}
    for place in HOME.all_data.iterdir() if HOME.all_data.exists() else ():
        left = place.name.startswith(NEW) and time.time() - place.stat().st_mtime > LEFT_S
        if left or not (place.name.startswith(NEW) or place.name in kept):
            shutil.rmtree(place)


def store(aws: Aws, release: Path) -> Iterator[Part]:
    """Put into the bucket what a laptop has sent of a release's data; each part before it is put. Raises AwsError."""
    for part in parts_of(release):
        sent = HOME.incoming_data(part.id)
        if sent.exists():
            yield part
            aws.put(sent, KEYS.data(part.id))
            sent.unlink()


def _unpack(archive: Path, folder: Path, part: Part) -> None:
    """Unpack a part's files, as root's own; each is compared with the list, and nothing else is there then."""
    words = ["tar", "-xzf", str(archive), "-C", str(folder), "--no-same-owner", "--no-same-permissions"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise DataError(f"the archive of {part.entry} cannot be unpacked: {done.stderr.strip()}")
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_symlink() or path.is_file()}
    if odd := found ^ part.files.keys():
        raise DataError(f"the archive of {part.entry} has other files than the release lists: {min(odd)}")
    for name, content in part.files.items():
        path = folder / name
        if path.is_symlink() or digest(path) != content.sha256:
            raise DataError(f"{name} is not what was pushed")
        path.chmod(0o755 if content.program else 0o644)


def digest(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _place(release: Path, name: str) -> Path:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise DataError(f"{name!r} is not a path in the project")
    return release / path
