"""Releases and environments, brought to this machine from the bucket, as root.

A release's name is the SHA-256 of its archive, so nobody can have another one brought under its name. An archive
appears unpacked and whole or not at all, and nothing of it outside its own folder.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from sweepfleet.machine import data_files
from sweepfleet.machine.aws import Aws, AwsError
from sweepfleet.machine.facts import HOME, KEYS

REQUESTS = Path("/run/sweepfleet/requests")  # the service user asks here, root brings
PATIENCE_S = 600
LOOK_S = 0.5  # between two looks whether it is there
UNPACK_S = 900  # for an environment of some gigabytes on a slow disk
AGAIN_S = 5.0  # after something that was asked for could not be brought
SHA256 = re.compile(r"[0-9a-f]{64}")


class BringError(Exception):
    """Something that was asked for is not what it should be; the message says what."""


def bring_release(aws: Aws, sha256: str) -> Path:
    """A release's folder with its data files, brought here as far as it is not.

    Raises:
        AwsError: it cannot be read.
        BringError: it is not what was pushed.
    """
    place = HOME.release(_hash(sha256))
    try:
        if place.exists():  # a push or the boot has brought it, without its data
            data_files.add(aws, place)
            return place
        return _bring(aws, KEYS.release(sha256), place, sha256=sha256, more=lambda new: data_files.add(aws, new))
    except data_files.DataError as error:
        raise BringError(str(error)) from None


def bring_environment(aws: Aws, lock: str) -> Path:
    """An environment's folder, likewise."""
    place = HOME.environment(_hash(lock))
    if place.exists():
        return place
    return _bring(aws, KEYS.environment(lock), place, sha256=environment_sha256(aws, lock))


def environment_sha256(aws: Aws, lock: str) -> str:
    """The SHA-256 of an environment's archive, as the head noted it when it had stored it."""
    with TemporaryDirectory() as folder:  # its own: another process may ask for another's
        note = Path(folder, "environment.sha256")
        aws.get(KEYS.environment_hash(lock), note)
        return note.read_text().strip()


def _bring(aws: Aws, key: str, place: Path, *, sha256: str, more: Callable[[Path], None] = lambda _: None) -> Path:
    with (HOME.path / ".one-at-a-time").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # a push and a job that starts may both need it; the second finds it here
        if not place.exists():
            _fetch(aws, key, place, sha256=sha256, more=more)
    return place


def _fetch(aws: Aws, key: str, place: Path, *, sha256: str, more: Callable[[Path], None]) -> None:
    parts = HOME.path / f".bringing-{place.name}"
    shutil.rmtree(parts, ignore_errors=True)
    new, archive = parts / "new", parts / "archive"
    new.mkdir(parents=True)
    try:
        aws.get(key, archive)
        with archive.open("rb") as file:
            seen = hashlib.file_digest(file, "sha256").hexdigest()
        if seen != sha256:
            raise BringError(f"{key} is not what was pushed: its SHA-256 is {seen}, not {sha256}")
        _unpack(archive, new, key=key)
        more(new)
        os.sync()  # a power cut after the renaming must not leave empty files under the final name
        place.parent.mkdir(exist_ok=True)
        new.rename(place)
    finally:
        shutil.rmtree(parts, ignore_errors=True)


def _hash(name: str) -> str:
    """The same name, once it is known to be one: names come from a folder that the service user can write to."""
    if not SHA256.fullmatch(name):
        raise BringError(f"{name!r} is not the name of a release or an environment; these are 64 hexadecimal digits")
    return name


def _unpack(archive: Path, folder: Path, *, key: str) -> None:
    """Unpack as root's own files and without setuid bits; tar itself refuses what would go elsewhere."""
    words = ["tar", "-xzf", str(archive), "-C", str(folder), "--no-same-owner", "--no-same-permissions"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=UNPACK_S, check=False)
    except subprocess.TimeoutExpired:
        raise BringError(f"{key} was not unpacked in {UNPACK_S} s") from None
    if done.returncode:
        raise BringError(f"{key} cannot be unpacked: {done.stderr.strip()}")


def open_counter(user: str) -> None:
    """Make the folder in which the service user asks for releases."""
    REQUESTS.mkdir(parents=True, exist_ok=True)
    shutil.chown(REQUESTS, user, user)


def serve_counter(aws: Aws) -> None:
    """Bring what was asked for; what is no release's name is left. What cannot be brought is said."""
    for asked in list(REQUESTS.iterdir()):
        if not SHA256.fullmatch(asked.name) or asked.is_dir():
            continue
        asked.unlink()
        if HOME.release(asked.name).exists():
            continue
        print(f"fetching the release {asked.name[:12]}", flush=True)
        try:
            bring_release(aws, asked.name)
        except (AwsError, BringError) as error:
            print(f"the release {asked.name[:12]} was not fetched: {error}", flush=True)
            time.sleep(AGAIN_S)


def _lacking(root: Path) -> str | None:
    """The release that this path is of, if it is one's and not here."""
    if root.exists() or not root.is_relative_to(HOME.path):
        return None
    return root.relative_to(HOME.path / "releases").parts[0]


async def ask_for(root: Path) -> None:
    """Have the release at this path brought here, as the service user; returns when it is there.

    It may take minutes, in which whoever asks has other things to answer: a dask worker its scheduler.

    Raises:
        BringError: it does not come.
    """
    sha256 = _lacking(root)
    if sha256 is None:
        return
    end_s = time.monotonic() + PATIENCE_S
    while not HOME.release(sha256).exists():
        (REQUESTS / sha256).touch()
        if time.monotonic() > end_s:
            raise BringError(f"the release {sha256[:12]} was not fetched in {PATIENCE_S} s: inv logs --workers")
        await asyncio.sleep(LOOK_S)
