"""What a command asks of a sweep, beside the grid."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sweepfleet.grid.sweep import Sweep
from sweepfleet.run.project import project_of
from sweepfleet.slot.context import Context

if TYPE_CHECKING:
    from sweepfleet.run.checkpoints import Stored
    from sweepfleet.run.machine_port import MachinePort  # loaded with the engine, while children start


@dataclass(frozen=True, slots=True)
class Request:
    """A command's options, apart from the grid."""

    runs: Path  # the folder of all runs
    root: Path  # the project's root: targets may be imported from it
    command_line: str
    born_s: float  # unix time at which the command began
    workers: int | None = None  # slots; None: as many as the machine's cores allow
    redo: str = ""  # which ended points to compute again: one of sweepfleet.run.selection.REDO
    redo_request: str | None = None  # names this command, where its driver may have to start again
    address: str | None = None  # a dask scheduler to use; None: this machine
    most_workers: int | None = None  # of the scheduler's, that it uses; None: all
    artifacts: Path | None = None  # where points write on the scheduler's workers; None: nothing of it is kept
    checkpoints: Path | None = None  # where they leave there what their next attempts continue from; None: nowhere
    stored: Stored | None = None  # where the workers store that
    machine: MachinePort | None = None  # what the scheduler's workers are on; None: as this one, with the project
    spent: Callable[[], bool] = lambda: False  # whether it has cost what it may
    longest_s: float | None = None  # what is left may take so long at the first points' time; None: any time
    function: bytes | None = None  # the content of the target's pickle, where the scheduler's workers lack the file
    goes_on: Callable[[], bool] = lambda: False  # whether a driver follows this one when it is told to stop
    counted: Callable[[int], object] | None = None  # told how many points are left, before a slot is waited for
    loaded: Callable[[], object] = lambda: None  # called when all is imported and started, before points run


def context_of(
    sweep: Sweep,
    *,
    root: Path,
    artifacts: Path | None,
    artifacts_url: str | None = None,
    checkpoints: Path | None = None,
    checkpoints_url: str | None = None,
    function: bytes | None = None,
) -> Context:
    """The sweep as its workers see it."""
    execution = sweep.execution
    return Context(
        plan_json=sweep.plan.to_json(),
        target=sweep.target,
        folder=str(sweep.folder),
        root=str(project_of(sweep, home=root)),
        metric=sweep.metric.name if sweep.metric else "value",
        artifacts=str(artifacts) if artifacts else None,
        artifacts_url=artifacts_url,
        checkpoints=str(checkpoints) if checkpoints else None,
        checkpoints_url=checkpoints_url,
        checkpoint_every_s=execution.checkpoint_every_s,
        timeout_s=execution.timeout_s,
        memory_bytes=execution.memory_bytes,
        infra_retries=execution.infra_retries,
        cpus=execution.cpus,
        log_bytes=execution.log_bytes,
        start=execution.start,
        function=None if function is None else base64.b64encode(function).decode(),
    )
