"""Brings a release to the cluster: to the head by SSH, from there to the bucket, where every machine finds it."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sweepfleet.fleet.code.git import asked
from sweepfleet.fleet.code.pusher import UNKNOWN, Pusher
from sweepfleet.fleet.code.release import Release, label
from sweepfleet.fleet.code.send_data import send
from sweepfleet.fleet.errors import ClusterError, NothingToDo
from sweepfleet.fleet.reach.bucket import get_json
from sweepfleet.fleet.reach.cloud import Cloud, asking_aws
from sweepfleet.fleet.reach.remote import Host
from sweepfleet.fleet.steps import StepLines, Steps
from sweepfleet.grid.errors import UsageError
from sweepfleet.infra.layout import BucketLayout, MachinePaths
from sweepfleet.infra.outputs import Outputs
from sweepfleet.machine.data_files import Part, identities
from sweepfleet.machine.facts import PUSHED_BY

PATHS = MachinePaths()
BUILD_S = 1800
HEAD_S = 300  # for a new head's own preparations
UV = "/usr/local/bin/uv"
RELEASE_NOTE = re.compile(r"releases/[0-9a-f]{64}\.json")


@dataclass(frozen=True, slots=True)
class Pushed:
    """A release in the bucket, as its note says."""

    sha256: str
    commit: str
    dirty: bool
    engine: str
    lock: str
    pushed: float  # unix time
    by: Pusher | None = None  # None: not known
    data: tuple[tuple[str, str], ...] = ()  # entries of `include` with names for their contents
    current: bool = False
    outside: Mapping[str, str] = field(default_factory=dict)  # what it depends on beside the project; see `carry`
    package: str = ""  # sweepfleet's own code in it, by its content, and its version
    sweepfleet: str = ""

    @property
    def label(self) -> str:
        """How to name it to a person."""
        return label(self.commit, dirty=self.dirty)

    @classmethod
    def of(cls, note: dict[str, Any], *, current: str = "") -> Pushed:
        """Out of a release's note."""
        sha256 = note["release"]["sha256"]
        return cls(
            sha256=sha256,
            commit=note["commit"],
            dirty=note["dirty"],
            engine=note["engine"],
            lock=note["lock"],
            pushed=note["pushed"],
            by=Pusher.of(note),
            data=tuple(sorted(note.get("data", {}).items())),
            current=sha256 == current,
            outside=note.get("outside", {}),
            package=note.get("package", ""),
            sweepfleet=note.get("sweepfleet", ""),
        )


def current_release(cloud: Cloud, outputs: Outputs) -> Pushed | None:
    """The release that machines run now; None before the first push."""
    note = _note(cloud, outputs, BucketLayout().current)
    return Pushed.of(note, current=note["release"]["sha256"]) if note else None


def fleet_release(cloud: Cloud, outputs: Outputs) -> Pushed | None:
    """The release whose code scheduler and workers run: an older one while a run of it goes on; None before any."""
    note = _note(cloud, outputs, BucketLayout().fleet)
    return Pushed.of(note) if note else None


def releases(cloud: Cloud, outputs: Outputs) -> list[Pushed]:
    """Every release that was pushed, the newest first."""
    now = current_release(cloud, outputs)
    found = []
    with asking_aws("list the releases"):
        pages = cloud.client("s3").get_paginator("list_objects_v2")
        prefix = BucketLayout().releases
        keys = [
            one["Key"]
            for page in pages.paginate(Bucket=outputs.bucket, Prefix=prefix)
            for one in page.get("Contents", ())
        ]
    for key in keys:
        if RELEASE_NOTE.fullmatch(key):
            note = _note(cloud, outputs, key)
            found += [Pushed.of(note, current=now.sha256 if now else "")] if note else []
    return sorted(found, key=lambda one: one.pushed, reverse=True)


def new(release: Release, now: Pushed | None) -> Release:
    """The release, when it is not the current one; asks nobody.

    Raises:
        NothingToDo: it is the current one.
    """
    if now is not None and now.sha256 == release.sha256:
        raise NothingToDo(f"The cluster has this release already: {release.label}.")
    return release


def since(release: Pushed) -> str:
    """When a release was pushed, and by whom; for a person."""
    when = datetime.fromtimestamp(release.pushed, UTC).astimezone().strftime("%Y-%m-%d %H:%M")
    return f"pushed {when} by {release.by or UNKNOWN}"


def replaced(now: Pushed | None, me: Pusher, *, root: Path, parts: tuple[Part, ...] = ()) -> str | None:
    """Why a push from the checkout at `root` may not be meant: it takes another person's newer code or data away.

    `parts` are the data files of the push.

    None where it does not: theirs is part of this checkout, or mine. Raises ClusterError: git cannot be started.
    """
    if now is None or (now.by is not None and now.by.is_same(me)):
        return None
    contained = asked(root, "merge-base", "--is-ancestor", now.commit, "HEAD") is not None
    mine = identities(parts)
    data = [entry for entry, content in now.data if mine.get(entry) != content]
    if contained and not now.dirty and not data:
        return None
    if not contained:
        lacks, without = f"its commit {now.commit[:10]}", "that code"
    elif now.dirty:
        lacks, without = "its changes, which were not committed", "that code"
    else:
        lacks, without = f"its data files ({', '.join(data)})", "them"
    return (
        f"The cluster's release {now.label} was {since(now)}. This checkout does not contain {lacks}: after a push, "
        f"new sweeps run without {without}. Active runs keep their release."
    )


def push(head: Host, release: Release, *, by: Pusher, missing: list[Part], steps: Steps) -> None:
    """Make a release the current one: its archive is sent when the head lacks it, an environment never.

    Args:
        head: of the cluster.
        release: with all its parts.
        by: who pushes.
        missing: the parts of data files that are to be sent, too.
        steps: shows what is done.

    Raises:
        ClusterError: the head is not ready, or cannot build the environment; the old release goes on.
    """
    wait_for_head(head, steps=steps)
    place = f"{PATHS.home}/releases/{release.sha256}"
    if head.run("test", "-d", place).exit_code:
        size = f"{len(release.data) / 1e6:.1f} MB"
        steps.step(f"Sending {release.label}, {size}")
        incoming = f"/tmp/sweepfleet-{release.sha256}.tar.gz"  # noqa: S108 - its hash is checked over there
        with TemporaryDirectory() as folder:
            archive = Path(folder, "release.tar.gz")
            archive.write_bytes(release.data)
            head.put(
                archive,
                incoming,
                sent=lambda sent, _: steps.update(f"Sending {release.label}, {sent / 1e6:.1f} of {size}"),
            )
        steps.step("Unpacking it on the head")
        head.ask("sh", "-euc", UNPACK, "unpack", incoming, release.sha256, PATHS.home, sudo=True)
    send(head, release, missing, steps=steps)
    _publish(head, release.sha256, by=by, steps=steps)
    steps.say(f"The cluster's release is {release.label} now.")


# As root: check what came, and put it where releases are, whole.
UNPACK = """
incoming=$1 sha256=$2 home=$3
mkdir -p "$home/incoming" "$home/releases"
archive=$home/incoming/$sha256.tar.gz
mv "$incoming" "$archive" && chown root:root "$archive" && chmod 644 "$archive"
echo "$sha256  $archive" | sha256sum --check --quiet
new=$home/releases/.new-$sha256
rm -rf "$new" && mkdir -m 755 "$new"
tar -xzf "$archive" -C "$new" --no-same-owner
sync
mv "$new" "$home/releases/$sha256"
"""


def roll_back(head: Host, cloud: Cloud, outputs: Outputs, *, to: str, by: Pusher, steps: Steps) -> None:
    """Make an earlier release current again: the one before, or the one whose hash or commit begins with `to`.

    Raises:
        UsageError: there is no such release, or more than one.
    """
    known = releases(cloud, outputs)
    if to:
        fitting = [one for one in known if one.sha256.startswith(to) or one.commit.startswith(to)]
    else:
        now = next((one.pushed for one in known if one.current), time.time())
        fitting = [one for one in known if one.pushed < now][:1]
    if len(fitting) != 1:
        seen = f"{len(fitting) or 'No'} releases begin with {to!r}" if to else "No release is older than this one"
        raise UsageError(f"{seen}. List them: inv releases")
    (target,) = fitting
    if target.current:
        raise NothingToDo(f"The cluster has this release already: {target.label}.")
    wait_for_head(head, steps=steps)
    _publish(head, target.sha256, by=by, steps=steps)
    steps.say(f"The cluster's release is {target.label} again.")


def wait_for_head(head: Host, *, steps: Steps) -> None:
    """Wait until the head has prepared itself: its data volume is mounted, and uv installed.

    Raises:
        ClusterError: it has not in time; with the last lines of what it did.
    """
    end_s = time.monotonic() + HEAD_S
    said = False
    while head.run("sh", "-c", f"mountpoint -q {PATHS.data} && test -x {UV}").exit_code:
        if not said:
            steps.step(f"Waiting for the head to finish its first boot, {HEAD_S} s at most")
            said = True
        if time.monotonic() > end_s:
            last = head.run(
                "journalctl", "-n", "15", "--no-pager", "-o", "cat", "-u", "sweepfleet-boot@*", sudo=True
            ).stdout
            raise ClusterError(
                f"The head did not finish its first boot in {HEAD_S} s. Its last lines:\n{last.rstrip()}"
            )
        time.sleep(2)


def _publish(head: Host, sha256: str, *, by: Pusher, steps: Steps) -> None:
    """Have the head build what is missing, store it and name it current, as pushed by somebody.

    A release that is in the bucket alone is brought by the one that the head has.
    """
    places = " || ".join(
        f"cd {place} 2>/dev/null" for place in (PATHS.code_of(f"{PATHS.home}/releases/{sha256}"), PATHS.code)
    )
    # The fleet's Python, once there is one, since it does not start `aws` for each object.
    python = f"$(command -v {PATHS.home}/environment/bin/python || echo python3)"
    begin = f"{{ {places}; }} && set -a && . {PATHS.facts} && {PUSHED_BY}=$2"
    script = f'{begin} && exec "{python}" -m sweepfleet.machine.head.publish "$1"'
    steps.step("The head checks the release")
    out = StepLines(steps, named=lambda line: f"The head is {line}")
    done = head.run("sh", "-c", script, "publish", sha256, by.to_json(), sudo=True, deadline_s=BUILD_S, out=out)
    if done.exit_code:
        said = (done.stderr or done.stdout).strip().removeprefix("error: ")
        raise ClusterError(f"The release was not published; the release before it stays current: {said}")


def _note(cloud: Cloud, outputs: Outputs, key: str) -> dict[str, Any] | None:
    return get_json(cloud, outputs.bucket, key, doing="read the release")
