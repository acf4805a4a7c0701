"""A release's data files on their way to the cluster: each part once, by SSH or into the bucket."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sweepfleet.fleet.code.included import megabytes, pack
from sweepfleet.fleet.code.release import Release
from sweepfleet.fleet.reach.bucket import exists
from sweepfleet.fleet.reach.cloud import Cloud, asking_aws
from sweepfleet.fleet.reach.remote import Host
from sweepfleet.fleet.steps import Steps
from sweepfleet.grid.wording import counted
from sweepfleet.infra.outputs import Outputs
from sweepfleet.machine.data_files import Part
from sweepfleet.machine.facts import HOME, KEYS

# As root: check what came, and put it where the head looks for it, whole.
KEEP = """
came=$1 sha256=$2 place=$3
mkdir -p "$(dirname "$place")"
mv "$came" "$place.new" && chown root:root "$place.new" && chmod 644 "$place.new"
echo "$sha256  $place.new" | sha256sum --check --quiet
mv "$place.new" "$place"
"""


def lacking(release: Release, cloud: Cloud, outputs: Outputs) -> list[Part]:
    """The parts of a release that the bucket has not. Raises ClusterError: AWS refuses."""
    return [part for part in release.parts if not exists(cloud, outputs.bucket, KEYS.data(part.id))]


def lines(release: Release, missing: list[Part]) -> list[str]:
    """What travels with a release beside its code, and how much of it is to be sent; for people."""
    return [
        f"With it: {part.entry}, {counted(len(part.files) + len(part.links), 'file')}, {megabytes(part.size)}"
        f"{'' if part in missing else '; the cluster has it already'}"
        for part in release.parts
    ]


def send(head: Host, release: Release, missing: list[Part], *, steps: Steps) -> None:
    """Bring parts to the head, which stores them in the bucket when it publishes the release.

    Raises:
        UsageError: a file was changed meanwhile.
        ClusterError: the head does not take them.
    """
    for part in missing:
        place = str(HOME.incoming_data(part.id))
        if head.run("test", "-e", place).exit_code == 0:  # of a push that was cut off
            continue
        steps.step(f"Packing {part.entry}")
        with TemporaryDirectory() as folder:
            archive = Path(folder, "data.tar.gz")
            sha256 = pack(part, release.root, archive)
            size = megabytes(archive.stat().st_size)
            steps.step(f"Sending {part.entry}, {size}")
            came = f"/tmp/sweepfleet-data-{part.id}.tar.gz"  # noqa: S108 - its hash is checked over there
            update = _updater(steps, f"Sending {part.entry}", of=size)
            head.put(archive, came, sent=update)
        head.ask("sh", "-euc", KEEP, "keep", came, sha256, place, sudo=True)


def _updater(steps: Steps, what: str, *, of: str) -> Callable[[int, int], None]:
    return lambda sent, _: steps.update(f"{what}, {sent / 1e6:,.1f} of {of}")


def store(cloud: Cloud, outputs: Outputs, release: Release, missing: list[Part]) -> None:
    """Put parts into the bucket. Raises as `send`."""
    for part in missing:
        with TemporaryDirectory() as folder:
            archive = Path(folder, "data.tar.gz")
            pack(part, release.root, archive)
            s3: Any = cloud.client("s3")
            with asking_aws(f"store {part.entry}"):
                s3.upload_file(str(archive), outputs.bucket, KEYS.data(part.id))
