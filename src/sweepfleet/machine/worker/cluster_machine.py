"""A cluster's worker, as a run knows it: it has releases from the bucket, and keeps there what points write."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from sweepfleet.machine.bring import BringError, ask_for
from sweepfleet.machine.worker.artifacts import keep_artifacts
from sweepfleet.machine.worker.checkpoints import restore
from sweepfleet.run.machine_port import NoReleaseError, Slot
from sweepfleet.slot.context import Context
from sweepfleet.slot.pool import Pool


@dataclass(frozen=True, slots=True)
class ClusterMachine:
    """See `run.machine_port.MachinePort`."""

    artifacts_url: str | None
    checkpoints_url: str | None = None

    async def bring(self, root: Path) -> None:
        """Ask for the release at this path, and wait for it."""
        try:
            await ask_for(root)
        except BringError as error:
            raise NoReleaseError(str(error)) from None

    def restore(self, pool: Pool, points: Callable[[], Iterable[str]]) -> None:
        """Fetch these points' checkpoints from the bucket, and store what running ones leave from now on."""
        restore(pool, points)

    def keep(self, context: Context, packet: bytes, slot: Slot) -> None:
        """Store what a bundle's points wrote, and what they left, in the bucket, however long S3 takes."""
        keep_artifacts(context, packet, slot)
