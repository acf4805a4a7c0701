"""The interface of the machine that computes a run's points, where it is not the one that started the run.

`OwnMachine` is this one: the project is here already, and what points write stays where they wrote it. A cluster's
worker is `machine.worker.cluster_machine`. The driver sends it to the workers with the sweep (`run.slots.Slots`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from sweepfleet.slot.context import Context
    from sweepfleet.slot.pool import Pool


class NoReleaseError(Exception):
    """A worker cannot get the code of a sweep; the message says why."""


class ArtifactsLeftError(Exception):
    """The sweep left this worker before the files were stored; their points' rows were never sent."""


class Waits(NamedTuple):
    """The state of a bundle whose files are not stored yet."""

    points: int
    apart: bool  # whether it has left its slot
    why: str  # what S3 said; empty: it only takes a while


@dataclass(frozen=True, slots=True)
class Slot:
    """The slot of a bundle, as its task has it."""

    leave: Callable[[], None]  # have other bundles begin in this one's place
    tell: Callable[[Waits], None]
    ended: threading.Event  # set when the sweep leaves this worker


class MachinePort(Protocol):
    """A machine that computes points. It is pickled for dask's workers, so its module is one that they have."""

    @property
    def artifacts_url(self) -> str | None:
        """Where what points write is kept, as s3://bucket/prefix; None: where they wrote it."""

    @property
    def checkpoints_url(self) -> str | None:
        """Likewise, of what their next attempts continue from."""

    async def bring(self, root: Path) -> None:
        """Return when the project is at this path. Raises NoReleaseError."""

    def restore(self, pool: Pool, points: Callable[[], Iterable[str]]) -> None:
        """Return when these points' checkpoints are where their next attempts look for them."""

    def keep(self, context: Context, packet: bytes, slot: Slot) -> None:
        """Return when what a bundle's points wrote is kept; only then do their rows count.

        Raises ArtifactsLeftError when the sweep leaves the machine first, and whatever no later try can change.
        """


@dataclass(frozen=True, slots=True)
class OwnMachine:
    """The machine that has the project."""

    artifacts_url: str | None = None
    checkpoints_url: str | None = None

    async def bring(self, root: Path) -> None:
        """Nothing to do: the project is here."""

    def restore(self, pool: Pool, points: Callable[[], Iterable[str]]) -> None:
        """Nothing to do: what an attempt left is where it left it."""

    def keep(self, context: Context, packet: bytes, slot: Slot) -> None:
        """Nothing to do: the files are where they belong."""


OWN_MACHINE = OwnMachine()
