"""A cluster's worker, as a run knows it: it has releases from the bucket, and keeps there what points write."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sweepfleet.machine.bring import BringError, ask_for
from sweepfleet.machine.worker.artifacts import keep_artifacts
from sweepfleet.run.machine_port import NoReleaseError, Slot
from sweepfleet.slot.context import Context


@dataclass(frozen=True, slots=True)
class ClusterMachine:
    """See `run.machine_port.MachinePort`."""

    artifacts_url: str | None

    async def bring(self, root: Path) -> None:
        """Ask for the release at this path, and wait for it."""
        try:
            await ask_for(root)
        except BringError as error:
            raise NoReleaseError(str(error)) from None

    def keep(self, context: Context, packet: bytes, slot: Slot) -> None:
        """Store what a bundle's points wrote in the bucket, however long S3 takes."""
        keep_artifacts(context, packet, slot)
