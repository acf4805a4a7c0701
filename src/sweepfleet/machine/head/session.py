"""Begins and ends sessions: `session begin KIND IDLE_S [JOB]`, `session end KIND`; as root on the head.

The last line that it prints is a JSON object for whoever asked; those before say what is done.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sweepfleet.machine.aws import Aws, AwsError
from sweepfleet.machine.environment.build import Builder, BuildError
from sweepfleet.machine.environment.jupyter import LOCK, OVERRIDES, SETTINGS, identity
from sweepfleet.machine.facts import HOME, SERVICE_USER, Data, Facts
from sweepfleet.machine.files import write_whole
from sweepfleet.machine.head.publish import UV, lock_of, secret_for_indexes
from sweepfleet.machine.session import (
    PORT,
    Session,
    SessionFolder,
    active_sessions,
    is_active,
    kernel_spec,
    server_config,
)

READY_S = 180  # for Python to import what it needs, on a small head that computes


class SessionError(Exception):
    """A session cannot begin; the message says why, and what to do."""


def begin(facts: Facts, kind: str, *, idle_s: int, job: dict[str, Any] | None = None) -> dict[str, Any]:
    """Have a session: the one that is active, else a new one with the current release and the limits of this job.

    Returns:
        what whoever asked needs: `session`, `new`, how the one before ended, and the notebook's token.

    Raises:
        SessionError, BuildError, AwsError: it cannot begin.
    """
    data = Data(Path(facts.data))
    folder = SessionFolder(data.sessions / kind)
    ended = data.ended(kind).read_text() if data.ended(kind).exists() else ""
    new = not is_active(folder)
    if new:
        _prepare(facts, data, folder, Session(kind, HOME.current.resolve().name, idle_s, time.time(), job))
        data.ended(kind).unlink(missing_ok=True)
        _say(f"starting the {kind}")
        subprocess.run(["systemctl", "start", folder.unit], check=True)
    _wait_ready(folder)
    return {
        "session": json.loads(folder.session.read_text()),
        "new": new,
        "ended": ended if new else "",
        "token": folder.token.read_text() if kind == "notebook" else "",
    }


def end(facts: Facts, kind: str) -> dict[str, Any]:
    """End a session with all that it has in memory; says whether there was one."""
    data = Data(Path(facts.data))
    folder = SessionFolder(data.sessions / kind)
    active = is_active(folder)
    subprocess.run(["systemctl", "stop", folder.unit], check=active)
    data.ended(kind).unlink(missing_ok=True)
    return {"active": active}


def _prepare(facts: Facts, data: Data, folder: SessionFolder, session: Session) -> None:
    """Have all that a session's program needs in place."""
    release = HOME.current.resolve()
    environment = HOME.environment(lock_of(release))
    if not environment.exists():
        raise SessionError("The head has no code yet, or is just bringing it. Push it: inv push")
    jupyter = have_jupyter(facts)
    data.sessions.mkdir(exist_ok=True)
    for place, mode in ((data.sessions_home, 0o700), (data.notebooks, 0o755)):
        place.mkdir(mode=mode, exist_ok=True)
        shutil.chown(place, SERVICE_USER, SERVICE_USER)
    shutil.rmtree(folder.path, ignore_errors=True)
    folder.path.mkdir(mode=0o750)
    for link, target in ((folder.release, release), (folder.environment, environment), (folder.jupyter, jupyter)):
        link.symlink_to(target)
    folder.kernel_spec.parent.mkdir(parents=True)
    write_whole(folder.kernel_spec, json.dumps(kernel_spec(folder), indent=2))
    write_whole(folder.config, json.dumps(server_config(data, idle_s=session.idle_s), indent=2))
    write_whole(folder.token, secrets.token_urlsafe(32))
    write_whole(folder.session, session.to_json())
    shutil.chown(folder.path, group=SERVICE_USER)  # at last: what is in it is whole
    prune_jupyter(data, kept=jupyter)


def have_jupyter(facts: Facts) -> Path:
    """The environment of Jupyter, built the first time; it appears whole or not at all. Errors: as of `begin`."""
    lock = LOCK.read_text()
    place = HOME.jupyter(identity(lock))
    if place.exists():
        return place
    new = place.with_name(f".building-{place.name}")
    new.parent.mkdir(exist_ok=True)
    shutil.rmtree(new, ignore_errors=True)  # of a power cut
    try:
        with TemporaryDirectory(dir=HOME.path, prefix=".resolving-") as work, secret_for_indexes(Aws(facts)) as netrc:
            index = facts.package_index
            builder = Builder(uv=UV, cache=HOME.path / ".uv", work=Path(work), index=index, netrc=netrc, say=_say)
            builder.build_locked(lock, new)
        (new / OVERRIDES).parent.mkdir(parents=True, exist_ok=True)
        (new / OVERRIDES).write_text(json.dumps(SETTINGS))
        os.sync()
        new.rename(place)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return place


def prune_jupyter(data: Data, *, kept: Path) -> None:
    """Remove environments of Jupyter that no session uses: of versions of this package before."""
    used = {kept, *(folder.jupyter.resolve() for folder in active_sessions(data))}
    for place in HOME.all_jupyter.iterdir():
        if place not in used:
            shutil.rmtree(place)


def _wait_ready(folder: SessionFolder) -> None:
    """Wait until a session answers.

    Raises:
        SessionError: it has ended, or does not answer in time; with the last lines of its journal.
    """
    deadline_s = time.monotonic() + READY_S
    while not _answers(folder):
        late = time.monotonic() > deadline_s
        if late or not is_active(folder):
            asked = ["journalctl", "-u", folder.unit, "-n", "12", "--no-pager", "-o", "cat"]
            said = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
            what = f"does not answer after {READY_S} s" if late else "ended as it started"
            raise SessionError(f"The {folder.path.name} {what}. The last lines of its journal:\n{said}")
        time.sleep(0.2)


def _answers(folder: SessionFolder) -> bool:
    if folder.path.name == "console":
        return folder.connection.exists()
    asked = urllib.request.Request(
        f"http://127.0.0.1:{PORT}/api/status", headers={"Authorization": f"token {folder.token.read_text()}"}
    )
    try:
        with urllib.request.urlopen(asked, timeout=10) as answer:  # noqa: S310
            return bool(answer.status == 200)
    except OSError:
        return False


def _say(text: str) -> None:
    print(text, flush=True)


def main(words: list[str]) -> None:
    """Do what the command line says."""
    facts = Facts.read()
    verb, kind, *more = words
    with (HOME.path / ".session.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two at once begin one session
        try:
            job = json.loads(more[1]) if more[1:] else None
            answer = begin(facts, kind, idle_s=int(more[0]), job=job) if verb == "begin" else end(facts, kind)
        except (SessionError, BuildError, AwsError, subprocess.CalledProcessError) as error:
            sys.exit(f"error: {error}")
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    os.umask(0o022)
    main(sys.argv[1:])
