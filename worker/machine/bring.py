"""Releases and environments, brought to this machine from the bucket: `bring JOB`, as root.

A release's name is the SHA-256 of its archive, so nobody can have another one brought under its name.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

from worker.machine.aws import Aws
from worker.machine.facts import HOME, KEYS, Facts

WANTED = Path("/run/sweepfleet/wanted")  # the service user asks here, root brings
PATIENCE_S = 600
SHA256 = re.compile(r"[0-9a-f]{64}")


class BringError(Exception):
    """Something that was asked for is not what it should be; the message says what."""


def bring_release(aws: Aws, sha256: str) -> Path:
    """A release's folder, brought here if it is not."""
    return _bring(aws, KEYS.release(sha256), HOME.release(sha256), sha256=sha256)


def bring_environment(aws: Aws, lock: str) -> Path:
    """An environment's folder, likewise."""
    place = HOME.environment(lock)
    if place.exists():
        return place
    note = HOME.path / ".environment.sha256"
    aws.get(KEYS.environment_hash(lock), note)
    return _bring(aws, KEYS.environment(lock), place, sha256=note.read_text().strip())


def _bring(aws: Aws, key: str, place: Path, *, sha256: str) -> Path:
    if place.exists():
        return place
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
        subprocess.run(["tar", "-xzf", archive, "-C", new, "--no-same-owner"], check=True)
        os.sync()  # a power cut after the renaming must not leave empty files under the final name
        place.parent.mkdir(exist_ok=True)
        new.rename(place)
    finally:
        shutil.rmtree(parts, ignore_errors=True)
    return place


def open_counter(user: str) -> None:
    """Make the folder in which the service user asks for releases."""
    WANTED.mkdir(parents=True, exist_ok=True)
    shutil.chown(WANTED, user, user)


def serve_counter(aws: Aws) -> None:
    """Bring what was asked for; what is no release's name is dropped."""
    for asked in list(WANTED.iterdir()):
        asked.unlink()
        if SHA256.fullmatch(asked.name) and not HOME.release(asked.name).exists():
            print(f"bringing the release {asked.name[:12]}", flush=True)
            bring_release(aws, asked.name)


def ask_for(root: Path) -> None:
    """Have the release at this path brought here, as the service user; returns when it is there.

    Raises:
        BringError: it does not come.
    """
    if root.exists() or not root.is_relative_to(HOME.path):
        return
    sha256 = root.relative_to(HOME.path / "releases").parts[0]
    end_s = time.monotonic() + PATIENCE_S
    while not HOME.release(sha256).exists():
        (WANTED / sha256).touch()
        if time.monotonic() > end_s:
            raise BringError(f"the release {sha256[:12]} did not come in {PATIENCE_S} s")
        time.sleep(0.5)


def bring_job(facts: Facts, job: Path) -> None:
    """Bring what a job needs, and link it there."""
    wanted = json.loads((job / "job.json").read_text())
    aws = Aws(facts)
    for name, place in (
        ("release", bring_release(aws, wanted["release"])),
        ("environment", bring_environment(aws, wanted["environment"])),
    ):
        link = job / name
        link.unlink(missing_ok=True)
        link.symlink_to(place)
