"""Publishes a pushed release: `publish SHA256`, as root on the head, in the release's own folder where it is there.

Brings what the bucket has and this machine has not, builds the environment where there is none for its lock file
yet, stores both in the bucket, and names them the current ones. What fails leaves everything as it was: the old
release goes on.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryDirectory
from typing import Any

from sweepfleet.machine import data_files
from sweepfleet.machine.aws import Aws, AwsError
from sweepfleet.machine.bring import BringError, bring_environment, bring_release, environment_sha256
from sweepfleet.machine.environment.build import RESOLVED, Builder, BuildError
from sweepfleet.machine.environment.note import identity
from sweepfleet.machine.facts import CODE, HOME, KEYS, NETRC_PARAMETER, PUSHED_BY, Data, Facts
from sweepfleet.machine.in_process import door
from sweepfleet.machine.job import JobFolder, active_jobs
from sweepfleet.machine.session import SessionFolder, active_sessions

ENGINE = ("grid", "slot", "run", "machine")  # what scheduler, workers and drivers must have the same of
AWAIT_RELEASE = "sweepfleet-boot@await-release.service"
UV = Path("/usr/local/bin/uv")
EXIT_AGAIN = 75  # EX_TEMPFAIL: AWS did not answer, or refused
GOING = ".going-"  # before the name of what is being removed
MEMORY = Path("/run")
KEPT = 5  # releases on the head's disk; the bucket has all of them


def publish(facts: Facts, sha256: str, *, by: str) -> dict[str, Any]:
    """Make a release current.

    Args:
        facts: of this machine.
        sha256: of its archive, which has just come and is unpacked, or is in the bucket.
        by: who pushes, as JSON; empty where nobody says.

    Returns:
        what `releases/current.json` says now.
    """
    aws = door(facts)
    release = bring_release(aws, sha256)
    lock = lock_of(release)
    environment = HOME.environment(lock)
    stored = aws.exists(KEYS.environment_hash(lock))
    if not environment.exists():
        if stored:
            _say("fetching the environment from the bucket")
            bring_environment(aws, lock)
        else:
            with secret_for_indexes(aws) as netrc:
                build(
                    release,
                    environment,
                    index=facts.package_index,
                    netrc=netrc,
                    resolved=resolved_before(aws, lock),
                )
    if not stored:
        aws.put(environment / RESOLVED, KEYS.environment_requirements(lock))  # a later build makes the same of it
        store_environment(aws, environment, lock)
    archive = HOME.incoming(sha256)
    if archive.exists():  # or left by a push that failed further up
        _say(f"storing the release, {_megabytes(archive)}")
        aws.put(archive, KEYS.release(sha256))
        archive.unlink()
    for part in data_files.store(aws, release):
        _say(f"storing {part.entry}, {part.size / 1e6:,.1f} MB")
    note: dict[str, Any] = json.loads((release / "release.json").read_text()) | {
        "engine": engine_of(release, lock),
        "lock": lock,
        "pushed": time.time(),
        **({"pushed_by": json.loads(by)} if by else {}),
        "release": {"key": KEYS.release(sha256), "sha256": sha256},
        "environment": {"key": KEYS.environment(lock), "sha256": environment_sha256(aws, lock)},
    }
    for key in (KEYS.release_note(sha256), KEYS.current):  # the last one is what everybody looks at
        _put_text(aws, json.dumps(note, indent=2) + "\n", key)
    if active := kept_by(Data(Path(facts.data)), note["engine"]):
        _say(f"keeping scheduler and workers as they are until these runs have ended: {', '.join(active)}")
    _say("making the release current")
    subprocess.run(["systemctl", "restart", AWAIT_RELEASE], check=True)
    os.utime(release)
    prune({release}, Data(Path(facts.data)))
    return note


def kept_by(data: Data, engine: str) -> list[str]:
    """The active runs until whose end scheduler and workers keep another engine; empty where nothing is kept."""
    if not data.jobs.exists() or not HOME.fleet_engine.exists() or HOME.fleet_engine.read_text() == engine:
        return []
    return [job.path.name for job in active_jobs(data.jobs)]


def prune(needed: set[Path], data: Data) -> None:
    """Remove releases and environments from this disk: not these, none in use, none of the newest."""
    releases = [place for place in HOME.releases.iterdir() if not place.name.startswith(".")]
    kept = needed | {place.resolve() for place in (HOME.current, HOME.fleet_release) if place.exists()}
    kept |= set(sorted(releases, key=lambda place: place.stat().st_mtime)[-KEPT:])
    jobs = active_jobs(data.jobs) if data.jobs.exists() else []
    users: list[JobFolder | SessionFolder] = [*jobs, *active_sessions(data)]
    kept |= {user.release.resolve() for user in users}
    environments = {HOME.environment(lock_of(place)) for place in kept if place.exists()}
    environments |= {place.resolve() for place in (HOME.fleet_environment, *(user.environment for user in users))}
    _remove_going()  # of a power cut
    data_files.prune(kept)
    for place in (*releases, *HOME.environments.iterdir()):
        if place.is_dir() and not place.name.startswith(".") and place not in kept | environments:
            place.rename(place.with_name(f"{GOING}{place.name}"))  # half of it must not pass for it
    _remove_going()


def _remove_going() -> None:
    for folder in (HOME.releases, HOME.environments):
        for going in folder.glob(f"{GOING}*"):
            shutil.rmtree(going)


def lock_of(release: Path) -> str:
    """A name for the environment that a release needs, on this machine."""
    return identity(release)


def engine_of(release: Path, lock: str) -> str:
    """A name for what scheduler, workers and drivers have in common: this project's own code, and the environment."""
    digest = hashlib.sha256(lock.encode())
    for folder in ENGINE:
        for file in sorted((release / CODE / "sweepfleet" / folder).rglob("*.py")):
            digest.update(f"{file.relative_to(release)}\0".encode() + file.read_bytes())
    return digest.hexdigest()


@contextlib.contextmanager
def secret_for_indexes(aws: Aws) -> Iterator[Path | None]:
    """A file with the user names and passwords of package indexes, where the account has them; it is in memory alone.

    Raises AwsError when AWS does not answer.
    """
    try:
        text = aws.secret(NETRC_PARAMETER.format(stack=aws.facts.stack))
    except AwsError as error:
        if "AccessDenied" not in str(error):
            raise
        _say(f"using package indexes without a password: this head may not read it. Let it, with: inv up. ({error})")
        text = None
    if text is None:
        yield None
        return
    with NamedTemporaryFile("w", dir=MEMORY, prefix="sweepfleet-netrc-") as file:  # whose mode is 0600
        file.write(f"{text.rstrip()}\n")
        file.flush()
        yield Path(file.name)


def build(release: Path, environment: Path, *, index: str, netrc: Path | None = None, resolved: str = "") -> None:
    """Build a release's environment; it appears whole or not at all. Arguments, errors: as of `Builder.build`."""
    new = environment.with_name(f".building-{environment.name}")
    new.parent.mkdir(exist_ok=True)
    for left in new.parent.glob(".building-*"):  # by a power cut; one push at a time builds
        shutil.rmtree(left)
    try:
        with TemporaryDirectory(dir=HOME.path, prefix=".resolving-") as work:
            builder = Builder(uv=UV, cache=HOME.path / ".uv", work=Path(work), index=index, netrc=netrc, say=_say)
            builder.build(release, new, resolved=resolved)
        os.sync()
        new.rename(environment)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def resolved_before(aws: Aws, lock: str) -> str:
    """What an earlier build of an environment has resolved; empty where there was none."""
    if not aws.exists(KEYS.environment_requirements(lock)):
        return ""
    with TemporaryDirectory() as folder:
        file = Path(folder, "requirements.txt")
        aws.get(KEYS.environment_requirements(lock), file)
        return file.read_text()


def store_environment(aws: Aws, environment: Path, lock: str) -> None:
    """Pack an environment and store it; its hash comes last and says that it is there."""
    archive, note = HOME.path / ".packing", HOME.path / ".environment.sha256"
    try:
        _say("packing the environment")
        pack = ["tar", "-c", "-I", "gzip -1", "-f", str(archive), "--sort=name", "-C", str(environment), "."]
        subprocess.run(pack, check=True)
        with archive.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        _say(f"storing the environment, {_megabytes(archive)}")
        aws.put(archive, KEYS.environment(lock))
        note.write_text(sha256)
        aws.put(note, KEYS.environment_hash(lock))
    finally:
        archive.unlink(missing_ok=True)


def _put_text(aws: Aws, text: str, key: str) -> None:
    file = HOME.path / ".note"
    file.write_text(text)
    aws.put(file, key)


def _megabytes(file: Path) -> str:
    return f"{file.stat().st_size / 1e6:,.1f} MB"


def _say(text: str) -> None:
    """Tell whoever pushes what is done: a line for a step, an indented one for what that step is at."""
    try:
        print(text, flush=True)
    except OSError:  # nobody listens any more, and what was begun is finished
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    os.umask(0o022)
    [_sha256] = sys.argv[1:]
    with (HOME.path / ".publish.lock").open("w") as _lock:
        fcntl.flock(_lock, fcntl.LOCK_EX)  # two pushes at once: one after the other
        try:
            publish(Facts.read(), _sha256, by=os.environ.get(PUSHED_BY, ""))
        except (BuildError, BringError) as _error:
            sys.exit(f"error: {_error}")
        except AwsError as _error:
            print(f"error: {_error}", file=sys.stderr)
            sys.exit(EXIT_AGAIN)
