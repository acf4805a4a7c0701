"""The way to the head for whoever has a role in AWS and no SSH key: letters in the bucket.

The head's side is `machine.head.letterbox`.
A letter that nobody waits for any more is done nonetheless, until it expires; one of the cluster that had this bucket
before is not.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sweepfleet.fleet.code.push import BUILD_S, HEAD_S, current_release
from sweepfleet.fleet.code.pusher import Pusher
from sweepfleet.fleet.code.release import Release
from sweepfleet.fleet.code.send_data import lacking, lines, store
from sweepfleet.fleet.errors import ClusterError, NothingToDo
from sweepfleet.fleet.reach.bucket import exists, get_json
from sweepfleet.fleet.reach.cloud import Cloud, asking_aws
from sweepfleet.fleet.reach.console import last_lines
from sweepfleet.fleet.runs import travel
from sweepfleet.fleet.stack.awake import head_state, wake
from sweepfleet.grid.errors import UsageError
from sweepfleet.grid.sweep import Sweep
from sweepfleet.infra.outputs import Outputs
from sweepfleet.machine.facts import KEYS
from sweepfleet.machine.head.letters import EXPIRES_S, stamped
from sweepfleet.machine.job import Job

POLL_S = 3.0
LOOK_S = 20.0  # between two looks whether the head is asleep, while it does not answer
TAKE_OVER_S = 300  # for the head to look, and to start a run


@dataclass(frozen=True, slots=True)
class Letterbox:
    """One stack's."""

    cloud: Cloud
    outputs: Outputs
    say: Callable[[str], None] = print

    def ask(self, what: dict[str, Any], *, enclosed: Path | None = None, patience_s: float) -> None:
        """Send a letter, and wait until it is done.

        Args:
            what: `kind`, and what belongs to it.
            enclosed: a file that goes with it.
            patience_s: how long to wait.

        Raises:
            UsageError: the head refuses it.
            ClusterError: it could not do it, or did not answer in time.
        """
        letter = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
        if enclosed is not None:
            with asking_aws("write to the bucket"):
                key = KEYS.enclosed(letter)
                self._s3.put_object(Bucket=self.outputs.bucket, Key=key, Body=enclosed.read_bytes())
        volume = self.outputs.data_volume_id
        self._put(KEYS.letter(letter), stamped(what, volume=volume, now=datetime.now(UTC)))
        answer = self._answer(letter, patience_s=patience_s)
        if answer["exit_code"] == 0:
            return
        if answer["exit_code"] == UsageError.exit_code:
            raise UsageError(str(answer["said"]))
        raise ClusterError(f"[head] {answer['said']}")

    def put_release(self, release: Release) -> None:
        """Have a release's archive in the bucket."""
        key = KEYS.release(release.sha256)
        if not exists(self.cloud, self.outputs.bucket, key):
            with asking_aws("store the release"):
                self._s3.put_object(Bucket=self.outputs.bucket, Key=key, Body=release.data)

    def begin_with(self, release: Release) -> None:
        """Name the release that a head without one takes its first steps with."""
        self._put(KEYS.first, {"key": KEYS.release(release.sha256), "sha256": release.sha256})

    def _answer(self, letter: str, *, patience_s: float) -> dict[str, Any]:
        """Wait for the answer. A head that is asleep, or that fell asleep as the letter came, is started for it."""
        end_s, look_s = time.monotonic() + patience_s, float("-inf")
        while time.monotonic() < end_s:
            key = KEYS.answer(letter)
            answer = get_json(self.cloud, self.outputs.bucket, key, doing="read the head's answer")
            if answer is not None:
                return answer
            if time.monotonic() - look_s > LOOK_S:
                if self._wake():
                    end_s = max(end_s, time.monotonic() + patience_s)
                look_s = time.monotonic()
            time.sleep(POLL_S)
        raise ClusterError(
            f"The head did not answer in {patience_s:.0f} s. It carries out the request as soon as it can, "
            f"within {EXPIRES_S / 3600:.0f} h. {last_lines(self.cloud, self.outputs.head_id)}"
        )

    def _wake(self) -> bool:
        """Start the head if it is asleep; whether it was. Raises ClusterError: it does not start."""
        try:
            state = head_state(self.cloud, self.outputs.head_id)
        except ClusterError:  # who may not look waits for the answer alone
            return False
        wake(self.cloud, self.outputs, state, say=self.say)
        return state.is_asleep

    def _put(self, key: str, what: dict[str, Any]) -> None:
        with asking_aws("write to the bucket"):
            self._s3.put_object(Bucket=self.outputs.bucket, Key=key, Body=json.dumps(what).encode())

    @property
    def _s3(self) -> Any:
        return self.cloud.client("s3")


def push_by_letter(
    cloud: Cloud, outputs: Outputs, release: Release, *, by: Pusher, say: Callable[[str], None]
) -> None:
    """Make a release the current one, without SSH; also the first one of a new head.

    Raises:
        NothingToDo: it is the current one.
        ClusterError: the head cannot build it, or does not answer; the old release goes on.
    """
    now = current_release(cloud, outputs)
    if now is not None and now.sha256 == release.sha256:
        raise NothingToDo(f"The cluster has this release already: {release.label}.")
    box = Letterbox(cloud, outputs, say)
    say(f"Storing {release.label}, {len(release.data) / 1e6:.1f} MB, and asking the head to make it current")
    missing = lacking(release, cloud, outputs)
    for line in lines(release, missing):
        say(line)
    store(cloud, outputs, release, missing)
    box.put_release(release)
    if now is None:
        box.begin_with(release)
    box.ask({"kind": "push", "sha256": release.sha256, "by": asdict(by)}, patience_s=BUILD_S + HEAD_S)
    say(f"The cluster's release is {release.label} now.")


def submit_by_letter(cloud: Cloud, outputs: Outputs, sweep: Sweep, job: Job, *, root: Path) -> None:
    """Hand a sweep over to the head, without SSH; it runs from now on by itself.

    Raises:
        UsageError: a run of this name goes on; or a file of it is outside the project.
        ClusterError: the head cannot take it, or does not answer.
    """
    with TemporaryDirectory() as folder:
        archive = Path(folder, "job.tar")
        travel.pack(archive, sweep, job, root=root)
        Letterbox(cloud, outputs).ask({"kind": "sweep", "name": sweep.name}, enclosed=archive, patience_s=TAKE_OVER_S)
